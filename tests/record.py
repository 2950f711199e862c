"""Records what the real CLIs say to the scripted model: ``python -m tests.record --claude PATH --qwen PATH``.

Each run has a HOME and a working directory of its own and an environment built from nothing. Its stdout goes
byte for byte to ``samples/NAME.jsonl`` in the package of its plugin, the rest to ``NAME.json``; only paths,
the port and the user's number are rewritten to neutral ones. The verdict in it is what the plugin makes of
the run: look whether it is the one that is due.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import attrs

from mahavishnu_core import Task, Worker
from mahavishnu_core.models import WorkerResult
from mahavishnu_core.testing import Sample
from mahavishnu_core.testing.reading import read
from tests.scripted_model import clients
from tests.scripted_model.server import ModelServer, serve

_REPOSITORY = Path(__file__).resolve().parents[1]
_SESSION = "6f1c2f0e-5a57-4a35-9c1e-0d5b7a1e2c44"
_SECONDS = 240.0
_UNICODE = "Grüße 漢字 🙂\nline two\t\"quoted\" 'too' \\ $HOME `id` \u202e\u0007 end"


@attrs.frozen
class Recording:
    """One run of a CLI. A None in ``env`` takes a variable away; runs that name one ``home`` share it.

    ``resume`` goes on with the conversation of the run before it in its home, or with one that never was.
    """

    name: str
    script: str
    args: tuple[str, ...] = ()
    prompt: str = "Go"
    resume: bool = False
    env: Mapping[str, str | None] = attrs.field(factory=dict)
    files: Mapping[str, str] = attrs.field(factory=dict)
    home: str = ""


@attrs.frozen
class Client:
    """One of the CLIs: how it is called and what it needs. ``{session}`` in a word is its session id."""

    name: str
    program: Path
    args: tuple[str, ...]
    env: Callable[[str, Path], dict[str, str]]
    recordings: tuple[Recording, ...]
    begin: tuple[str, ...] = ("--session-id", "{session}")
    go_on: tuple[str, ...] = ("--resume", "{session}")
    session: str = _SESSION
    """The id of a conversation of which no run has told another."""

    @property
    def samples(self) -> Path:
        """Where its recordings belong."""
        (plugin,) = _REPOSITORY.glob(f"*/mahavishnu-{self.name}/mahavishnu_{self.name}")
        return plugin / "samples"

    def argv(self, recording: Recording, session: str) -> list[str]:
        words = self.go_on if recording.resume else self.begin
        return [self.name, *self.args, *recording.args, *(w.replace("{session}", session) for w in words)]


@attrs.frozen
class Ended:
    """How a run ended: a negative code is a signal's."""

    code: int
    out: bytes
    err: bytes


def main() -> None:
    parser = argparse.ArgumentParser(description="records transcripts of the real CLIs")
    for name in _CLIENTS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=())
    options = parser.parse_args()
    with serve() as server, tempfile.TemporaryDirectory(prefix="record-") as scratch:
        for name, make in _CLIENTS.items():
            if program := getattr(options, name):
                _record_all(make(program.absolute()), options.only, server, Path(scratch).resolve())


_CLAUDE_ARGS = ("-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits")
_QWEN_ARGS = ("-o", "stream-json", "--approval-mode", "yolo")
_PARTIALS = ("--include-partial-messages",)
_BASH = ("--allowedTools", "Bash")
_SUBSCRIPTION = {"ANTHROPIC_API_KEY": None, "CLAUDE_CODE_OAUTH_TOKEN": "not-a-token"}
_NOTES = {"notes.txt": "a note\n"}
_CODEX_ARGS = ("exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write")
_GEMINI_ARGS = ("-o", "stream-json", "--approval-mode", "yolo", "--skip-trust")
_OPENCODE_ARGS = ("run", "--format", "json", "--thinking")
_PATCH = "apply_patch <<'END'\n*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\nEND"
_ASKING = json.dumps({"bash": "ask"})

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
    Recording("resume_unknown", "memory", resume=True),
    Recording("turn_1", "memory", prompt="My name is Ada", home="turns"),
    Recording("turn_2_resume", "memory", prompt="What did I say?", resume=True, home="turns"),
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


_EVERYWHERE = tuple(each for each in _COMMON if each.args != _PARTIALS and each.name != "subagent")
_CODEX = (
    Recording("bash", "bash"),
    Recording("patch", "obey", prompt=_PATCH),
    Recording("e429", "e429"),
    Recording("e500", "e500"),
    Recording("e500_once", "e500_once"),
    Recording("die", "die"),
    Recording("no_auth", "hello", env={"OPENAI_API_KEY": None}),
)
_GEMINI = (
    Recording("bash", "bash"),
    Recording("long", "long", prompt="Say a lot"),
    Recording("e429", "e429"),
    Recording("e500", "e500"),
    Recording("die", "die"),
    Recording("die_once", "die_once"),
    Recording("no_auth", "hello", env={"GEMINI_API_KEY": None}),
)
_OPENCODE = (
    Recording("bash", "bash", ("--auto",)),
    Recording("subagent", "subagent", files=_NOTES),
    Recording("permission", "bash", env={"OPENCODE_PERMISSION": _ASKING}),
    Recording("e429", "e429"),
    Recording("e500", "e500"),
    Recording("die", "die"),
    Recording("model_unknown", "hello", ("--model", "no/such")),
)

_CLIENTS: dict[str, Callable[[Path], Client]] = {
    "claude": lambda program: Client(
        "claude", program, _CLAUDE_ARGS, clients.claude_env, (*_COMMON, *_CLAUDE)
    ),
    "qwen": lambda program: Client("qwen", program, _QWEN_ARGS, clients.qwen_env, (*_COMMON, *_QWEN)),
    "codex": lambda program: Client(
        "codex",
        program,
        _CODEX_ARGS,
        clients.codex_env,
        (*_EVERYWHERE, *_CODEX),
        begin=("-",),
        go_on=("resume", "{session}", "-"),
    ),
    "gemini": lambda program: Client(
        "gemini", program, _GEMINI_ARGS, clients.gemini_env, (*_EVERYWHERE, *_GEMINI)
    ),
    "opencode": lambda program: Client(
        "opencode",
        program,
        _OPENCODE_ARGS,
        clients.opencode_env,
        (*_EVERYWHERE, *_OPENCODE),
        begin=(),
        go_on=("--session", "{session}"),
        session="ses_00000000000000000000000000",
    ),
}


def _record_all(client: Client, names: tuple[str, ...], server: ModelServer, scratch: Path) -> None:
    sessions: dict[str, str] = {}  # by their homes
    for recording in client.recordings:
        if not names or recording.name in names:
            session = sessions.get(recording.home, client.session)
            told = _record(client, recording, session, server, scratch)
            if recording.home and told:
                sessions[recording.home] = told


def _record(
    client: Client, recording: Recording, session: str, server: ModelServer, scratch: Path
) -> str | None:
    """Records one run; the session id that it told."""
    root = scratch / client.name / (recording.home or recording.name)
    home, work = root / "home", root / "work"
    home.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    (root / "tmp").mkdir(exist_ok=True)
    for name, text in recording.files.items():
        (work / name).write_text(text)
    key = f"{recording.script}+{client.name}-{recording.name}"
    env = client.env(server.url(key), home)
    argv = client.argv(recording, session)
    ended = _run([str(client.program), *argv[1:]], recording, env, root)

    neutral = _neutral(server, key, recording.script, client.program, root)
    sample = Sample(
        recording.name,
        f"terminal-{client.name}",
        neutral(ended.out),
        stderr=neutral(ended.err).decode(errors="replace"),
        exit_code=ended.code if ended.code >= 0 else None,
        signal=signal.Signals(-ended.code).name if ended.code < 0 else None,
        resume=recording.resume,
        version=_version(client.program, home),
        argv=tuple(argv),
    )
    result = _result_of(sample, client.name, recording.prompt, session)
    sample = attrs.evolve(sample, status=result.status, reason=result.metadata["reason"])
    _write(sample, client.samples)
    how = f"exit {ended.code}, {len(ended.out)} bytes, {len(server.calls(key))} calls"
    verdict = f"{sample.status.value} ({sample.reason}): {result.error or result.output!r}"
    print(f"{client.name} {recording.name}: {how}, {verdict}")
    told = result.metadata["session_id"]
    return None if told is None else str(told)


def _result_of(sample: Sample, name: str, prompt: str, session: str) -> WorkerResult:
    """What the plugin makes of a run."""
    hooks = import_module(f"mahavishnu_{name}.hooks")
    (kind,) = (kind for kind in hooks.worker_types() if kind.name == sample.worker_type)
    worker = Worker("w1", kind, Path("/workspace"), "")
    task = Task("w1.1", "w1", prompt, _SECONDS, session, sample.resume, "", Path("/workspace"))
    return read(hooks.parse_progress(worker, task), worker, task, sample).result


def _write(sample: Sample, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{sample.name}.jsonl").write_bytes(sample.stdout)
    facts: dict[str, object] = {
        "argv": sample.argv,
        "exit_code": sample.exit_code,
        "signal": sample.signal,
        "stderr": sample.stderr,
        "version": sample.version,
        "status": sample.status.value,
        "reason": sample.reason,
    }
    if sample.resume:
        facts["resume"] = True
    (folder / f"{sample.name}.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def _run(argv: list[str], recording: Recording, env: Mapping[str, str], root: Path) -> Ended:
    """Runs one command with files for its three streams; ends what it leaves behind.

    Files, since claude and qwen drop what a full pipe does not take when they exit (seen in claude 2.1.197
    and qwen 0.15.10: exit 0, no result event).
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
        "TMPDIR": str(root / "tmp"),
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
    return re.search(r"\d\S*", said.stdout)[0]  # "codex-cli 0.171.0"


def _neutral(
    server: ModelServer, key: str, script: str, program: Path, root: Path
) -> Callable[[bytes], bytes]:
    """A function that takes this machine out of an output."""

    def dashed(path: str) -> str:
        return re.sub(r"[^A-Za-z0-9]", "-", path)

    work, installed = str(root / "work"), str(program.resolve()).partition("/node_modules/")[0]
    table = {
        work: "/workspace",
        work.lstrip("/"): "workspace",  # as opencode shows it
        str(root / "home"): "/home/worker",
        dashed(work): dashed("/workspace"),
        f"{root / 'tmp'}/claude-{os.getuid()}": "/tmp/claude-1000",
        str(root / "tmp"): "/tmp",
        f"{installed}/node_modules": "/usr/lib/node_modules",
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
