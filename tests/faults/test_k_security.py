"""Section K of the fault matrix: what agents say and are called, what they get to see, and who looks on."""

from __future__ import annotations

import json
import os
import pty
import shlex
import socket
import subprocess
import sys
import tempfile
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mahavishnu_core import WorkerStatus
from tests.installed import Site as Packages

from .disk import cannot
from .site import PATIENCE, Ran, Site
from .waiting import until

AGENTS = Path(__file__).with_name("agents")
EVIL = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m\rover\b\b\u202etxet\u2028\nmahavishnu: forged"
_OBEYED = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of characters that a terminal or a log obeys; bidirectional ones beside them."""
_BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def obeyed(text: str) -> set[str]:
    """The characters in a text that would be obeyed where it is shown."""
    return {
        ascii(each)
        for each in set(text) - {"\n", "\t"}
        if unicodedata.category(each) in _OBEYED or unicodedata.bidirectional(each) in _BIDI
    }


def require_harmless(said: str, where: object) -> None:
    assert obeyed(said) == set(), where
    assert "Traceback" not in said, where
    assert not [line for line in said.split("\n") if line.startswith("mahavishnu: forged")], where


def tell(site: Site, *words: str, **options: object) -> Ran:
    """Run a command of which nothing may be obeyed."""
    ran = site.run(*words, **options)
    require_harmless(ran.out + ran.err, words)
    return ran


@pytest.fixture
def evil(site: Site) -> Site:
    """A place where all is called so: an agent's fields, a type, a program's version, plugins."""
    talker = site.root / "talker"
    talker.write_text(f"#!/bin/sh\ncat <<'END'\n{EVIL}\nEND\n")
    talker.chmod(0o755)
    agent = (sys.executable, str(AGENTS / "evil_fields.py"))
    site.settings({"evil": agent, "talker": (str(talker),)}, description=EVIL)
    packages = Packages(site.root / "packages")
    packages.path.mkdir()
    packages.install("broken", f"raise ValueError({EVIL!r})\n", distribution="acme", version="1\x1b[2J")
    packages.add("worse", "1", f"[mahavishnu]\nev{EVIL[:20]}il = nowhere\n")
    site.more["PYTHONPATH"] = str(packages.path)
    return site


def test_k1_not_one_escape_sequence_comes_through_any_command(evil: Site) -> None:
    given = ["workers", "execute", "-t", "evil", "-n", "1", "-p", EVIL.replace("\nmaha", " maha")]
    assert "owned" in tell(evil, *given).out
    events = tell(evil, *given, "--jsonl")
    (evil.work / "run.jsonl").write_text(events.out)
    ran = tell(evil, *given, "--json")
    assert (ran.status, ran.result.metadata["reason"]) == (1, "execution_error")
    worker_id = ran.result.worker_id
    raw = evil.start("workers", "logs", "--raw", worker_id, text=False).communicate()[0]
    assert raw == evil.raw(ran.result)
    assert b"\x9b31m" in raw
    (evil.work / "raw.jsonl").write_bytes(raw)
    show_it = [f"workers {each} {worker_id}" for each in ("logs", "logs -f", "results", "monitor")]
    show_it += ["results search owned", f"results show {worker_id}"]
    show_it += ["replay run.jsonl", "replay run.jsonl --jsonl", "replay raw.jsonl --type evil"]
    for command in show_it:
        ran = tell(evil, *command.split())
        assert "owned" in ran.out + ran.err, command
    for command in ("list", "list --all --json", "results --json", "monitor --json", "types", "types --json"):
        tell(evil, "workers", *command.split())
    for command in (f"results show {worker_id} --json", "workers health", "results sync", "config show"):
        tell(evil, *command.split())
    for command in ("plugins list", "plugins list --json", "doctor", "doctor --json"):
        assert "owned" in tell(evil, *command.split()).out, command
    assert obeyed(evil.run("plugins", "list", "-v").out) == set()


WRONG = [
    *(["workers", each, EVIL] for each in ("logs", "close", "monitor", "results", "batch")),
    *(["workers", "execute", "-p", "x", option, EVIL] for option in ("-t", "--worker", "-n", "-T")),
    ["workers", "execute", "-t", "shell", "-p", "x", "--repo", EVIL],
    ["workers", "execute", "-t", "shell", "--prompt-file", EVIL],
    [EVIL],
    ["workers", EVIL],
    ["workers", f"--{EVIL}"],
    ["--config", EVIL, "workers", "types"],
    ["config", "set", EVIL, "x"],
    ["config", "set", f"workers.{EVIL}", "x"],
    ["config", "set", "worker_default_type", EVIL],
    ["results", "show", EVIL],
    ["replay", EVIL],
    ["plugins", "check", EVIL],
    ["plugins", "new", EVIL],
    ["completion", EVIL],
    ["mcp", "serve", "--root", EVIL],
    ["mcp", "serve", "--transport", "http", "--host", EVIL],
    ["mcp", "install", "--client", EVIL],
]


def test_k1_what_is_wrong_is_one_line_whatever_it_is_called(site: Site) -> None:
    for command in WRONG:
        ran = tell(site, *command)
        assert (ran.status, len(ran.err.splitlines())) == (2, 1), (command, ran.err)
        assert ran.err.startswith("mahavishnu: ")
    settings = site.home / ".config/mahavishnu/mahavishnu.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({EVIL: 1, "worker_default_type": EVIL}))
    ran = tell(site, "config", "check")
    assert (ran.status, len(ran.err.splitlines())) == (2, 2), ran.err


def test_k1_a_directory_may_be_called_anything(site: Site) -> None:
    site.offer("good")
    there = site.work / EVIL.rstrip("x")
    (there / ".mahavishnu").mkdir(parents=True)
    (there / ".mahavishnu/ecosystem.yaml").write_text("workers: [{name: mine, agent: shell}]\n")
    execute = ["workers", "execute", "-t", "good", "-n", "1", "-p", "x"]
    for command in (execute, ["workers", "list", "--json"], ["config", "show"], ["config", "path"]):
        ran = site.run(*command, cwd=there)
        assert ran.status == 0
        assert obeyed(ran.out + ran.err) == set(), command
    assert "not trusted yet" in site.run("config", "check", cwd=there).err
    assert obeyed(site.run("config", "trust", cwd=there).out) == set()


@pytest.mark.parametrize("command", ["execute -t evil -n 1 -p x", "monitor {}", "logs {}"])
def test_k1_a_terminal_obeys_nothing_of_it(evil: Site, command: str) -> None:
    worker_id = evil.execute("evil").result.worker_id
    shown = on_terminal(evil, "workers", *command.format(worker_id).split())
    assert r"\x1b[2J\x1b]0;owned" in shown
    for sequence in ("\x1b[2J", "\x1b]", "\x9b", "\b", "\u202e", "\u2028", "\0", "\x07"):
        assert sequence not in shown


def on_terminal(site: Site, *words: str) -> str:
    """All that a command shows on a terminal of its own."""
    master, slave = pty.openpty()
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    site.more["TERM"] = "xterm"
    process = site.start(*words, start_new_session=True, text=False, **ends)
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(master)
        process.wait(PATIENCE)
    return shown.decode("utf-8", "replace")


def test_k1_a_line_of_a_log_is_one_line(evil: Site) -> None:
    """Of the debug log, which a debug monitor shows, and of the keeper's."""
    evil.run("--debug", "workers", "execute", "-t", "evil", "-n", "1", "-p", EVIL)
    logged = (evil.state / "debug.jsonl").read_text()
    require_harmless(logged, "debug.jsonl")
    kinds = {json.loads(line)["event"] for line in logged.splitlines()}
    assert {"command", "task_ended"} <= kinds
    assert "owned" in logged
    require_harmless((evil.state / "keeper.log").read_text(), "keeper.log")
    tell(evil, "workers", "list")
    tell(evil, "workers", "close", "--all")


def test_k1_answers_over_mcp_are_plain_lines_of_json(evil: Site) -> None:
    worker_id = evil.execute("evil", prompt=EVIL).result.worker_id
    with mcp_server(evil) as ask:
        for tool, arguments in [
            ("worker_list", {}),
            ("worker_monitor", {"worker_ids": [worker_id], "interval": 0}),
            ("worker_collect_results", {}),
            ("worker_health", {}),
            ("worker_execute", {"worker_id": worker_id, "prompt": EVIL}),
            ("worker_execute", {"worker_id": EVIL, "prompt": "x"}),
            ("worker_spawn", {"worker_type": EVIL}),
            (EVIL, {}),
        ]:
            require_harmless(ask("tools/call", name=tool, arguments=arguments), tool)
        listed = ask("resources/list")
        require_harmless(listed, "resources/list")
        uris = [each["uri"] for each in json.loads(listed)["result"]["resources"]]
        assert uris
        for uri in [*uris, f"mahavishnu://{EVIL}"]:
            require_harmless(ask("resources/read", uri=uri), uri)


@contextmanager
def mcp_server(site: Site) -> Iterator[Callable[..., str]]:
    """A server over standard streams, as a function that sends a request and gives the line of its answer."""
    process = site.start("mcp", "serve", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    number = 0

    def send(message: dict[str, object]) -> None:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()

    def ask(method: str, **params: object) -> str:
        nonlocal number
        number += 1
        send({"id": number, "method": method, "params": params})
        while json.loads(line := process.stdout.readline()).get("id") != number:
            require_harmless(line, method)
        return line.rstrip("\n")

    try:
        client = {"clientInfo": {"name": "test", "version": "1"}, "capabilities": {}}
        ask("initialize", protocolVersion="2025-11-25", **client)
        send({"method": "notifications/initialized"})
        yield ask
        _, said = process.communicate(timeout=PATIENCE)
        require_harmless(said, "standard error")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


SECRETS = {
    "ANTHROPIC_API_KEY": "k2-canary-of-the-vendor",
    "SOME_PASSWORD": "k2-canary-that-is-passed-on",
    "GITHUB_TOKEN": "k2-canary-of-somebody-else",
    "SOMETHING": "k2-canary-in-no-secret's-name",
    "MAHAVISHNU_MCP_TOKEN": "k2-canary-of-our-own-door",
}
NOT_ITS = ("GITHUB_TOKEN", "SOMETHING", "MAHAVISHNU_MCP_TOKEN")
"""What no worker gets."""


@pytest.fixture
def guarded(site: Site) -> Site:
    """A user with secrets, of which a worker type that tells all that it was given gets some."""
    site.offer("leak_env", pass_env=["SOME_PASSWORD"])
    site.more |= {**SECRETS, "MAHAVISHNU_PASS_ENV": "SOME_PASSWORD"}
    return site


TELLS = "echo $SOME_PASSWORD; echo $SOME_PASSWORD >&2; sleep 0.5; exit 3"


def test_k2_known_secrets_are_in_nothing_that_is_shown_or_kept(guarded: Site) -> None:
    site = guarded
    ran, events = site.events("-t", "leak-env", "-p", "x")
    told = json.loads(str(events[-1]["output"]))["environment"]
    assert not {*NOT_ITS} & set(told)
    assert {told[name] for name in ("ANTHROPIC_API_KEY", "SOME_PASSWORD")} == {"[redacted]"}
    failed = site.run("--debug", "workers", "execute", "-t", "shell", "-n", "1", "-p", TELLS)
    assert (failed.status, "error: [redacted]" in failed.out) == (1, True)
    worker_id = str(events[-1]["worker_id"])
    shown = {"events": ran, "an error": failed}
    for command in (
        f"workers logs {worker_id}",
        f"workers results {worker_id}",
        f"results show {worker_id}",
        "results search redacted",
        "workers list --json",
        "config show",
        "workers close --all",
    ):
        shown[command] = site.run(*command.split())
    assert shown["results search redacted"].out.count("[redacted]") >= 4
    assert [what for what, ran in shown.items() if "canary" in ran.out + ran.err] == []
    on_screen = on_terminal(site, "workers", "execute", "-t", "shell", "-n", "1", "-p", TELLS)
    assert ("[redacted]" in on_screen, "canary" in on_screen) == (True, False)
    raw = {"stdout.jsonl", "stderr.log"}  # of the agents, as they came
    kept = [path for path in site.state.rglob("*") if path.is_file() and path.name not in raw]
    names = {path.name for path in kept}
    assert {"results.sqlite3", "keeper.log", "debug.jsonl", "task.json", "result.json"} <= names
    assert [str(path) for path in kept if b"canary" in path.read_bytes()] == []


def test_k2_a_secret_of_a_worker_type_is_in_nothing_that_is_shown(site: Site) -> None:
    site.offer("leak_env", env={"OWN_TOKEN": "canary-of-the-type"})
    ran, events = site.events("-t", "leak-env", "-p", "x")
    assert json.loads(str(events[-1]["output"]))["environment"]["OWN_TOKEN"] == "[redacted]"
    assert "canary" not in ran.out + ran.err
    for command in ("workers logs", "workers results", "results show"):
        ran = site.run(*command.split(), str(events[-1]["worker_id"]))
        assert "canary" not in ran.out + ran.err, command


def test_k2_a_running_command_has_what_it_may_and_no_secret_is_in_a_command_line(guarded: Site) -> None:
    site = guarded
    bell, gate = site.root / "bell", site.root / "gate"
    os.mkfifo(bell)
    os.mkfifo(gate)
    read, write = os.pipe()
    prompt = f"ls /proc/$$/fd; echo; echo here > {bell}; read x < {gate}; env"
    given = ["workers", "execute", "-t", "shell", "-n", "1", "--json", "-p", prompt]
    process = site.start(*given, pass_fds=(read, write))
    assert bell.read_text() == "here\n"
    running = [*Path("/proc").glob("[0-9]*/cmdline")]
    lines = {path.parent.name: _read(path) for path in running}
    assert [pid for pid, line in lines.items() if b"k2-canary" in line] == []
    (keeper,) = [pid for pid, line in lines.items() if os.fsencode(site.state) in line and b"keeper" in line]
    assert _read(Path(f"/proc/{keeper}/environ")) == b""
    gate.write_text("go\n")
    out, _ = process.communicate(timeout=PATIENCE)
    os.close(read)
    os.close(write)
    ran = Ran(process.returncode, out, "", 0)
    files, variables = str(ran.result.output).split("\n\n")
    assert files.split() == ["0", "1", "2"]
    assert "SOME_PASSWORD=[redacted]" in variables
    assert [name for name in ("ANTHROPIC_API_KEY", *NOT_ITS) if name in variables] == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def test_k2_an_answer_over_mcp_has_no_secret(guarded: Site) -> None:
    site = guarded
    ran = site.execute("leak-env")
    with mcp_server(site) as ask:
        told = ask("tools/call", name="worker_collect_results", arguments={})
        assert "[redacted]" in told
        uris = [each["uri"] for each in json.loads(ask("resources/list"))["result"]["resources"]]
        told += "".join(ask("resources/read", uri=uri) for uri in uris)
    assert str(ran.result.metadata["task_id"]) in told
    assert "canary" not in told


SHELL = [
    "$(touch canary)",
    "`touch canary`",
    "x; touch canary",
    "x | touch canary",
    "x > canary",
    "&& touch canary",
]


def test_k3_no_shell_reads_what_is_given_or_said(site: Site) -> None:
    template = "printf %s {prompt}"
    odd = site.root / "odd $(touch canary);'\"&|<>* agent"
    odd.write_text("#!/bin/sh\ncat\n")
    odd.chmod(0o755)
    types = [{"name": "odd", "agent": "generic", "command_template": shlex.quote(str(odd))}]
    types += [{"name": "placed", "agent": "generic", "command_template": template}]
    site.types(*({**each, "progress_tracking": "lines"} for each in types))
    prompt = "\n".join(SHELL)
    for place in SHELL:
        (site.work / place).mkdir()
    for kind in ("odd", "placed"):
        ran = site.execute(kind, "--repo", SHELL[0], prompt=prompt)
        assert (ran.status, ran.result.output) == (0, prompt)
    for word in SHELL:
        for command in (["workers", "logs", word], ["workers", "execute", "-p", "x", "-t", word]):
            assert site.run(*command).status == 2
        assert site.run("workers", "spawn", "-t", "placed", "-n", "1", cwd=site.work / word).status == 0
    assert _named(site, "canary") == []
    assert site.execute("shell", prompt=SHELL[0]).status == 0
    assert len(_named(site, "canary")) == 1, "a shell worker has a shell"


def _named(site: Site, name: str) -> list[str]:
    return [str(path) for path in site.root.rglob(name)]


ODD_SESSIONS = [
    "--dangerously-skip-permissions",
    "-x",
    "a\n--continue",
    "../../escaped",
    "/tmp/escaped",
    "\0",
]


@pytest.mark.parametrize("said", ODD_SESSIONS, ids=ascii)
def test_k4_what_an_agent_calls_its_session_becomes_no_option_and_no_path(site: Site, said: str) -> None:
    agent = (sys.executable, str(AGENTS / "odd_session.py"))
    site.settings({"odd": agent}, env={"ODD_SESSION": json.dumps(said)})
    first = site.execute("odd")
    words = json.loads(str(first.result.output))
    assert (first.status, words[-2]) == (0, "--session-id")
    again = ["workers", "execute", "--worker", first.result.worker_id, "-p", "x"]
    ran = site.run(*again, "--json")
    assert (ran.status, ran.result.status) == (1, WorkerStatus.FAILED)
    assert "is no UUID" in str(ran.result.error)
    assert not (site.task(ran.result).directory / "stdout.jsonl").exists(), "it was not started"
    assert "is no UUID" in tell(site, *again).out
    assert not Path("/tmp/escaped").exists()
    assert _named(site, "escaped*") == []


@pytest.mark.parametrize("agent", ["claude", "qwen"])
@pytest.mark.parametrize("model", ["-x", "--dangerously-skip-permissions", "a\n--continue"], ids=ascii)
def test_k4_a_model_is_the_word_of_the_template_and_what_an_agent_calls_it_goes_nowhere(
    site: Site, agent: str, model: str
) -> None:
    session = str(uuid.uuid4())
    said = {"ODD_SESSION": json.dumps(session), "ODD_MODEL": json.dumps(f"{model}s")}
    program = (sys.executable, str(AGENTS / "odd_session.py"), "--model", model)
    site.settings({"odd": program}, agent=agent, env=said)
    first = site.execute("odd")
    ours = json.loads(str(first.result.output))[:-2]
    assert ours[:2] == ["--model", model], "it is the user's own, who may mean it"
    assert not [word for word in ours[2:] if model in word]
    again = site.run("workers", "execute", "--worker", first.result.worker_id, "-p", "x", "--json")
    assert json.loads(str(again.result.output)) == [*ours, "--resume", session]


def test_k5_a_terminal_cannot_be_had(site: Site) -> None:
    site.offer("tty_grabber")
    shown = on_terminal(site, "workers", "execute", "-t", "tty-grabber", "-n", "1", "-p", "x")
    assert "completed" in shown
    assert "over all of it" not in shown
    (result,) = site.run("workers", "results", "--json").results
    assert b"no terminal\n" in site.raw(result)


OURS = ["keeper.log", "keeper.lock", "keeper.sock", "debug.jsonl", "results.sqlite3"]


@pytest.mark.parametrize("name", OURS)
def test_k5_a_link_in_the_place_of_a_file_of_ours_is_not_followed(site: Site, name: str) -> None:
    victim = _planted(site, name)
    tell(site, "--debug", "workers", "health")
    ran = tell(site, "workers", "execute", "-t", "shell", "-n", "1", "-p", "echo said")
    assert ran.status == 0 or str(site.state) in ran.out + ran.err, "it is named"
    assert not victim.exists()
    (site.state / name).unlink(missing_ok=True)
    assert tell(site, "results", "sync").status == 0


def test_k5_a_link_in_the_place_of_a_token_is_refused(site: Site) -> None:
    victim = _planted(site, "mcp-token")
    ran = tell(site, "mcp", "serve", "--transport", "http", "--port", "0")
    assert (ran.status, len(ran.err.splitlines())) == (4, 1)
    assert "mcp-token" in ran.err
    assert not victim.exists()


def _planted(site: Site, name: str) -> Path:
    """What a link of such a name in the state directory leads to: it is made where the link is followed."""
    victim = site.root / "victim"
    site.state.mkdir(mode=0o700)
    (site.state / name).symlink_to(victim)
    return victim


def test_k5_nothing_is_written_through_links_that_a_command_plants_among_its_own_files(site: Site) -> None:
    victim = site.root / "victim"
    victim.touch()
    own = f"cd $(ls -d {site.state}/workers/*/tasks/$MAHAVISHNU_TASK)"
    plant = f"{own} && for each in result exit launch; do ln -sf {victim} $each.json; done; echo said"
    ran = site.execute("shell", prompt=plant)
    assert (ran.status, ran.result.output) == (0, "said")
    assert victim.read_bytes() == b""
    assert tell(site, "workers", "close", "--all").status == 0


OPEN_UMASK = ("/bin/sh", "-c", 'umask 0; exec "$@"', "sh")


@contextmanager
def running(site: Site) -> Iterator[None]:
    """A task runs, with an open umask, as long as the block."""
    assert site.run("--debug", "workers", "health", prefix=OPEN_UMASK).status == 0
    bell, gate = site.root / "bell", site.root / "gate"
    os.mkfifo(bell)
    os.mkfifo(gate)
    prompt = f"echo said; echo here > {bell}; read x < {gate}"
    process = site.start("workers", "execute", "-t", "shell", "-n", "1", "-p", prompt, prefix=OPEN_UMASK)
    try:
        assert bell.read_text() == "here\n"
        tasks = list(site.state.glob("workers/*/tasks/*"))
        until(lambda: all((task / "launch.json").exists() for task in tasks))  # and no draft of it any more
        yield
    finally:
        gate.write_text("go\n")
        process.communicate(timeout=PATIENCE)


def everything(site: Site) -> list[Path]:
    paths = [site.state, *site.state.rglob("*")]
    assert {"results.sqlite3", "keeper.log", "debug.jsonl", "task.json", "stdout.jsonl"} <= {
        path.name for path in paths
    }
    return paths


def test_k6_all_is_for_its_owner_alone_whatever_the_umask(site: Site) -> None:
    """That no file was open to others even for an instant is C8's."""
    site.execute("shell", prompt="echo said", prefix=OPEN_UMASK)
    with running(site):
        paths = everything(site)
        assert "keeper.sock" in {path.name for path in paths}
        modes = {str(path): path.lstat().st_mode & 0o777 for path in paths}
    modes |= {str(path): path.lstat().st_mode & 0o777 for path in everything(site)}
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o77} == {}


def test_k6_another_user_reads_nothing_and_writes_nothing() -> None:
    if os.getuid() != 0:
        cannot("only root can be somebody else")
    with tempfile.TemporaryDirectory(prefix="mvk-", dir="/tmp") as root:
        Path(root).chmod(0o755)
        site = Site(Path(root))
        site.execute("shell", prompt="echo said", prefix=OPEN_UMASK)
        with running(site):
            tries = [each for path in everything(site) for each in ways_in(path)]
            assert {said for each in tries if (said := outcome(each)) != "done"} == set(), "we ourselves may"
            with as_somebody():
                assert outcome(lambda: list(site.root.iterdir())) == "done", "the state directory stops them"
                assert {outcome(each) for each in tries} == {"PermissionError"}
        assert site.left() == []


def ways_in(path: Path) -> list[Callable[[], object]]:
    """All that there is to try at a path; a file that can be made there is removed."""
    if path.is_dir():
        return [lambda: list(path.iterdir()), lambda: _make(path / "new")]
    if path.is_socket():
        return [lambda: _connect(path)]
    return [path.read_bytes, lambda: path.open("ab").close(), lambda: path.open("r+b").close()]


def _make(path: Path) -> None:
    path.touch(exist_ok=False)
    path.unlink()


def _connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


@contextmanager
def as_somebody() -> Iterator[None]:
    """Be another user for the files that are opened, and have no group in common with us."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
