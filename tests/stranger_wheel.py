"""A stranger's plugin as a wheel, and all broken ones, in an environment of their own: ``nox -s stranger``.

Made outside of this tree with ``plugins new``, built, installed, used, checked, and removed without a trace.
It installs from the package index and takes its time. Needs pytest alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent
BROKEN = sorted(path.parent for path in ROOT.glob("contrib/broken/*/pyproject.toml"))
PATIENCE = 300


@attrs.frozen
class Place:
    """A virtual environment with Mahavishnu as a user installs it, a home, and an empty directory."""

    path: Path

    @property
    def bin(self) -> Path:
        return self.path / "venv/bin"

    def run(self, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, which must end with that status."""
        done = subprocess.run(
            [str(self.bin / words[0]), *map(str, words[1:])],
            cwd=self.path / "work",
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "HOME": str(self.path / "home"),
                "MAHAVISHNU_SESSION_BUDDY_INTEGRATION": "false",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def pip(self, *words: str | Path) -> None:
        self.run("python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *words)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("stranger"))
    for name in ("work", "home"):
        (place.path / name).mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(place.path / "venv")], check=True)
    place.pip(ROOT, *sorted(ROOT.glob("plugins/*")), "cookiecutter", "hatchling", "pytest")
    return place


def test_a_strangers_wheel_works_and_leaves_no_trace(place: Place):
    made = place.run("mahavishnu", "plugins", "new", "parrot").stdout.strip()
    place.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", "wheels", place.path / "work" / made)
    (wheel,) = place.path.glob("work/wheels/mahavishnu_parrot-*.whl")
    before = _files(place)
    place.pip(wheel)

    assert "parrot" in place.run("mahavishnu", "workers", "types").stdout
    words = ("mahavishnu", "workers", "execute", "-t", "parrot", "-n", "2", "-p", "say this", "--json")
    results = json.loads(place.run(*words).stdout)
    assert [(result["status"], result["output"]) for result in results] == [("completed", "say this")] * 2
    assert "parrot keeps the contract" in place.run("mahavishnu", "plugins", "check", "parrot").stdout
    assert " passed" in place.run("python", "-m", "pytest", "-q", made).stdout

    place.run("python", "-m", "pip", "uninstall", "-q", "-y", "mahavishnu-parrot")
    assert _files(place) == before
    assert "parrot" not in place.run("mahavishnu", "workers", "types").stdout
    refused = place.run("mahavishnu", "workers", "execute", "-t", "parrot", "-p", "x", status=2)
    assert "unknown worker type 'parrot'" in refused.stderr


def test_all_broken_plugins_installed_at_once_are_named_and_the_work_is_done(place: Place):
    place.pip("--no-build-isolation", "--no-deps", *BROKEN)
    done = place.run(
        "mahavishnu", "workers", "execute", "-t", "shell", "-n", "1", "-p", "echo fine", status=4
    )
    assert "fine" in done.stdout  # 4: bad_storage could not keep it
    listed = place.run("mahavishnu", "plugins", "list").stdout
    said = done.stderr + listed
    unseen = [path.name for path in BROKEN if f"mahavishnu-broken-{path.name.replace('_', '-')}" not in said]
    assert unseen == []
    assert "Traceback" not in done.stderr
    rescue = place.run("python", "-m", "mahavishnu_core", "plugins").stdout
    assert "shell (mahavishnu-shell" in rescue
    place.run("mahavishnu", "--no-plugins", "workers", "list")


def _files(place: Place) -> set[str]:
    """All that is installed, but for what Python compiles on the way."""
    site = next(place.path.glob("venv/lib/python*/site-packages"))
    return {str(path.relative_to(site)) for path in site.rglob("*") if "__pycache__" not in path.parts}
