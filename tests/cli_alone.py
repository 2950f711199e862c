"""The command line without any plugin beside it, in an environment of its own: ``nox -s plugin_alone``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("mahavishnu")


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run([PROGRAM, *words], cwd=home, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--help",), 0),
        (("workers", "list"), 0),
        (("workers", "types"), 0),
        (("workers", "health"), 0),
        (("results", "search", "x"), 3),
        (("config", "check"), 3),
        (("doctor",), 3),
    ],
)
def test_a_command_works_or_says_what_is_missing(tmp_path: Path, words: tuple[str, ...], status: int):
    done = run(tmp_path, *words)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


def test_an_agent_that_is_not_installed_is_named(tmp_path: Path):
    done = run(tmp_path, "workers", "execute", "-t", "terminal-claude", "-p", "hello")
    assert done.returncode == 3
    assert "no plugin for the agent 'claude' is loaded" in done.stderr


def test_a_type_of_the_settings_runs_without_any_plugin(tmp_path: Path):
    config = tmp_path / ".config/mahavishnu"
    config.mkdir(parents=True)
    entry = {"name": "cat", "agent": "generic", "command_template": "cat", "progress_tracking": "lines"}
    (config / "ecosystem.yaml").write_text(json.dumps({"workers": [entry]}))
    done = run(tmp_path, "workers", "execute", "-t", "cat", "-n", "1", "-p", "hello", "--json")
    assert [result["output"] for result in json.loads(done.stdout)] == ["hello"], done.stderr
