"""Section J of the fault matrix: open files or processes that run out for a moment are waited for."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mahavishnu_core import WorkerStatus

from .disk import cannot
from .site import Site


@pytest.fixture
def strace() -> str:
    """The program that has calls fail."""
    found = shutil.which("strace")
    if found is None:
        cannot("there is no strace")
    if subprocess.run([found, "-f", "true"], capture_output=True, check=False).returncode:
        cannot("strace may not trace here")
    return found


@pytest.mark.parametrize(
    "fault", ["socket:error=EMFILE:when=1", "connect:error=EAGAIN:when=1", "pipe2:error=EMFILE:when=1..2"]
)
def test_j1_a_file_that_cannot_be_opened_for_a_moment_costs_no_task(
    site: Site, strace: str, fault: str
) -> None:
    prefix = (strace, "-o", str(site.root / "trace"), "-e", f"inject={fault}")
    ran = site.execute("shell", prompt="echo hi", count=3, prefix=prefix)
    assert "INJECTED" in (site.root / "trace").read_text()
    assert (ran.status, [result.status for result in ran.results]) == (0, [WorkerStatus.COMPLETED] * 3), (
        ran.err
    )
