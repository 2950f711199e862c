"""Records what the real CLIs say to the scripted model: ``python -m tests.record --claude PATH --qwen PATH``.

Each run has a HOME and a working directory of its own and an environment built from nothing. Its stdout goes
byte for byte to ``plugins/mahavishnu-<cli>/tests/transcripts/NAME.jsonl``, the rest to ``NAME.json``; only
paths, the port and the user's number are rewritten to neutral ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from tests.scripted_model import clients
from tests.scripted_model.server import ModelServer, serve

_PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
_SESSION = "6f1c2f0e-5a57-4a35-9c1e-0d5b7a1e2c44"
_SECONDS = 240.0
_UNICODE = "Grüße 漢字 🙂\nline two\t\"quoted\" 'too' \\ $HOME `id` \u202e\u0007 end"


@attrs.frozen
class Recording:
    """One run of a CLI. A None in ``env`` takes a variable away; runs that name one ``home`` share it."""

    name: str
    script: str
    args: tuple[str, ...] = ()
    prompt: str = "Go"
    session: tuple[str, str] = ("--session-id", _SESSION)
    env: Mapping[str, str | None] = attrs.field(factory=dict)
    files: Mapping[str, str] = attrs.field(factory=dict)
    home: str = ""


@attrs.frozen
class Client:
    """One of the two CLIs: how it is called and what it needs."""

    name: str
    program: Path
    args: tuple[str, ...]
    env: Callable[[str, Path], dict[str, str]]
    recordings: tuple[Recording, ...]


@attrs.frozen
class Ended:
    """How a run ended: a negative code is a signal's."""

    code: int
    out: bytes
    err: bytes


def main() -> None:
    parser = argparse.ArgumentParser(description="records transcripts of the real CLIs")
    parser.add_argument("--claude", type=Path)
    parser.add_argument("--qwen", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=())
    options = parser.parse_args()
    with serve() as server, tempfile.TemporaryDirectory(prefix="record-") as scratch:
        for client in _clients(options.claude, options.qwen):
            for recording in client.recordings:
                if not options.only or recording.name in options.only:
                    _record(client, recording, server, Path(scratch).resolve())


_CLAUDE_ARGS = ("-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits")
_QWEN_ARGS = ("-o", "stream-json", "--approval-mode", "yolo")
_PARTIALS = ("--include-partial-messages",)
_BASH = ("--allowedTools", "Bash")
_SUBSCRIPTION = {"ANTHROPIC_API_KEY": None, "CLAUDE_CODE_OAUTH_TOKEN": "not-a-token"}
_NOTES = {"notes.txt": "a note\n"}
_RESUME = ("--resume", _SESSION)

_COMMON = (
    Recording("hello", "hello", prompt="Say hello"),
    Recording("echo_unicode", "echo", prompt=_UNICODE),
    Recording("partials", "hello", _PARTIALS, prompt="Say hello"),
    Recording("long", "long", _PARTIALS, prompt="Say a lot"),
    Recording("think", "think"),
    Recording("tool_write", "write_file"),
    Recording("tool_two", "two_tools"),
    Recording("subagent", "subagent", files=_NOTES),
    Recording("e400", "e400"),
    Recording("e401", "e401"),
    Recording("e403", "e403"),
    Recording("e429_once", "e429_once"),
    Recording("die", "die", _PARTIALS),
    Recording("empty", "empty"),
    Recording("refusal", "refusal"),
    Recording("resume_unknown", "memory", session=_RESUME),
    Recording("turn_1", "memory", prompt="My name is Ada", home="turns"),
    Recording("turn_2_resume", "memory", prompt="What did I say?", session=_RESUME, home="turns"),
)
_CLAUDE = (
    Recording("bash_denied", "bash"),
    Recording("bash_allowed", "bash", _BASH),
    Recording("background", "background", _BASH),
    Recording("e429", "e429"),
    Recording("e429_unified", "e429_unified", env=_SUBSCRIPTION),
    Recording("limits_warning", "limits_warning", env=_SUBSCRIPTION),
    Recording("e500", "e500"),
    Recording("e529_once", "e529_once"),
    Recording("die_stream", "die_stream"),
    Recording("max_turns", "forever", (*_BASH, "--max-turns", "3")),
    Recording("max_budget", "costly", (*_BASH, "--max-budget-usd", "3")),
    Recording("no_credentials", "hello", env={"ANTHROPIC_API_KEY": None}),
)
_QWEN = (
    Recording("bash", "bash"),
    Recording("max_turns", "forever", ("--max-session-turns", "3")),
    Recording("no_auth", "hello", env=dict.fromkeys(("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"))),
    Recording("e500_quick", "e500"),
)


def _clients(claude: Path | None, qwen: Path | None) -> Iterator[Client]:
    if claude:
        yield Client("claude", claude.absolute(), _CLAUDE_ARGS, clients.claude_env, (*_COMMON, *_CLAUDE))
    if qwen:
        yield Client("qwen", qwen.absolute(), _QWEN_ARGS, clients.qwen_env, (*_COMMON, *_QWEN))


def _record(client: Client, recording: Recording, server: ModelServer, scratch: Path) -> None:
    root = scratch / client.name / (recording.home or recording.name)
    home, work = root / "home", root / "work"
    home.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    (root / "tmp").mkdir(exist_ok=True)
    for name, text in recording.files.items():
        (work / name).write_text(text)
    key = f"{recording.script}+{client.name}-{recording.name}"
    env = client.env(server.url(key), home)
    argv = [client.name, *client.args, *recording.args, *recording.session]
    ended = _run([str(client.program), *argv[1:]], recording, env, root)

    neutral = _neutral(server, key, recording.script, home, work)
    folder = _PLUGINS / f"mahavishnu-{client.name}" / "tests" / "transcripts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{recording.name}.jsonl").write_bytes(neutral(ended.out))
    facts = {
        "argv": argv,
        "exit_code": ended.code if ended.code >= 0 else None,
        "signal": signal.Signals(-ended.code).name if ended.code < 0 else None,
        "stderr": neutral(ended.err).decode(errors="replace"),
        "version": _version(client.program, home),
    }
    (folder / f"{recording.name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    calls = len(server.calls(key))
    print(f"{client.name} {recording.name}: exit {ended.code}, {len(ended.out)} bytes, {calls} calls")


def _run(argv: list[str], recording: Recording, env: Mapping[str, str], root: Path) -> Ended:
    """Runs one command with files for its three streams; ends what it leaves behind.

    Files, since both CLIs drop what a full pipe does not take when they exit (seen in claude 2.1.197 and
    qwen 0.15.10: exit 0, no result event).
    """
    mark = f"RECORDING={os.getpid()}-{recording.name}"
    prompt, out, err = (root / name for name in ("prompt", "stdout", "stderr"))
    prompt.write_text(recording.prompt)
    with prompt.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            argv,
            cwd=root / "work",
            env=_environment(argv[0], {**env, **recording.env}, root, mark),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(_SECONDS)
        finally:
            process.kill()
            process.wait()
            _end_strays(mark)
    return Ended(code, out.read_bytes(), err.read_bytes())


def _environment(program: str, env: Mapping[str, str | None], root: Path, mark: str) -> dict[str, str]:
    name, _, value = mark.partition("=")
    given = {
        "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "CLAUDE_CODE_TMPDIR": str(root / "tmp"),
        "QWEN_CODE_NO_RELAUNCH": "1",
        name: value,
        **env,
    }
    return {name: value for name, value in given.items() if value is not None}


def _end_strays(mark: str) -> None:
    """Ends every process that carries our mark in its environment."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # gone, or not ours to read


def _version(program: Path, home: Path) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    said = subprocess.run([program, "--version"], env=env, capture_output=True, text=True, check=True)
    return said.stdout.split()[0]


def _neutral(server: ModelServer, key: str, script: str, home: Path, work: Path) -> Callable[[bytes], bytes]:
    """A function that takes this machine out of an output."""

    def dashed(path: str) -> str:
        return re.sub(r"[^A-Za-z0-9]", "-", path)

    table = {
        str(work): "/workspace",
        str(home): "/home/worker",
        dashed(str(work)): dashed("/workspace"),
        f"{home.with_name('tmp')}/claude-{os.getuid()}": "/tmp/claude-1000",
        f"127.0.0.1:{server.port}": "127.0.0.1:8080",
        key: script,
    }

    def neutral(data: bytes) -> bytes:
        for machine, plain in table.items():
            data = data.replace(machine.encode(), plain.encode())
        return data

    return neutral


if __name__ == "__main__":
    main()
