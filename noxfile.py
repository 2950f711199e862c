"""The checks, one session each: ``nox -l`` lists them, ``nox`` runs those that need no other programs.

They run in the environment that nox is in, which ``pip install -r requirements-dev.txt`` has made: what is
checked is what is installed there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]

CLAUDE = "@anthropic-ai/claude-code@2.1.197"
QWEN = "@qwen-code/qwen-code@0.15.10"
PYTHON = [sys.executable, "-m"]
README = "tests/readme_commands.py"
CODE = ["mahavishnu_core", *sorted(str(path) for path in Path("plugins").glob("*/mahavishnu_*"))]


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the rules for code under Trio."""
    session.run(*PYTHON, "ruff", "check", ".")
    session.run(*PYTHON, "ruff", "format", "--check", ".")
    session.run(
        *PYTHON,
        "flake8",
        "--select",
        "ASYNC1,ASYNC2",
        "--startable-in-context-manager",
        "_keep_open",
        "--isolated",
        "--max-line-length",
        "200",
        *CODE,
    )


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over all distributions."""
    session.run(*PYTHON, "mypy", *CODE)


@nox.session
def tests(session: nox.Session) -> None:
    """The inner suite: everything that needs no other program than Python, git and a shell."""
    session.run(*PYTHON, "pytest", "-m", "not real_cli", *session.posargs)


@nox.session
def real_clis(session: nox.Session) -> None:
    """The real claude and qwen, installed from npm, against the scripted model."""
    home = Path(".nox/npm").absolute()
    home.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home)]
    session.run(*npm, CLAUDE, QWEN, external=True, silent=True)
    # npm may hold install scripts back: this one puts the native program in its place
    session.run("node", str(home / "node_modules/@anthropic-ai/claude-code/install.cjs"), external=True)
    path = f"{home / 'node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "real_cli",
        "-o",
        "faulthandler_timeout=300",  # qwen retries a failing server in silence for two minutes
        *session.posargs,
        env={"PATH": path, "MAHAVISHNU_REQUIRE_CLIS": "1"},
    )


@nox.session
def readme(session: nox.Session) -> None:
    """The README's first command, in a fresh clone with a fresh home, as a new user would give it."""
    session.run(*PYTHON, "pytest", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, README)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Speed and memory, as ratios to a reference in the same run."""
    for script in sorted(Path("tests/benchmarks").glob("[a-z]*.py")):
        session.run(sys.executable, str(script))
