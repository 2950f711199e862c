"""Shims: local programs that stand for commands elsewhere, and what the keeper says of those by them."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from mahavishnu_core.errors import UsageError
from mahavishnu_core.keeper import kept
from mahavishnu_core.keeper.family import Process
from mahavishnu_core.keeper.kept import Kept
from mahavishnu_core.models import Command, Exit, WorkerStatus
from mahavishnu_core.places import Shim, environment_elsewhere, find_shim, launch_shim
from mahavishnu_core.tally import Tally
from mahavishnu_core.testing.processes import gone
from mahavishnu_core.verdict import Seen, judge
from tests.test_keeper_death import kill_keeper
from tests.test_local import open_engine, worker_in

SHIM = """
import json, os, signal, sys
directory, report = sys.argv[1:]
heard = []
with open("bell", "w") as bell:
    blocked = {signal.SIGTERM, signal.SIGQUIT} <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
    bell.write(f"{os.getpid()} {blocked}\\n")
gate = open("gate")
while gate.readline() == "hear\\n":
    heard.append(signal.sigwait([signal.SIGTERM, signal.SIGQUIT]).name)
if report:
    with open(f"{directory}/shim.json", "w") as file:
        file.write(report.replace("HEARD", " ".join(sorted(heard))))
"""
"""Waits for lines at the gate: at ``hear`` for a signal, at any other it reports and ends."""
STANDS_FOR = "container x"


def start(bench, link, report, **more):
    """A shim that is to leave this report; an empty one for none."""
    task = bench.task(**more)
    launch = bench.launch(
        task, sys.executable, "-I", "-S", "-c", SHIM, str(task.directory), report, shim=STANDS_FOR
    )
    return link.launch(task, launch)


async def test_the_exit_is_what_the_shim_says_of_its_command(bench, bell, gate):
    report = {
        "exit_code": 137,
        "error": "no memory",
        "reason": "oom",
        "strays": ["7 sleep"],
        "warnings": ["container_removed"],
    }
    async with bench.link() as link:
        run = start(bench, link, json.dumps(report))
        gate.let_in()
        ended = await run.wait()
    assert {name: getattr(ended, name) for name in report} == {
        **report,
        "strays": ("7 sleep",),
        "warnings": ("container_removed",),
    }
    assert ended.duration_seconds > 0
    assert bench.state.exit(run.task) == ended


@pytest.mark.parametrize("grace", [0, 0.2])
async def test_a_shim_is_asked_to_end_gently_and_then_at_once(bench, bell, gate, grace):
    async with bench.link() as link:
        run = start(bench, link, '{"exit_code": 0, "error": "HEARD"}')
        assert (await bell.line()).endswith(" True"), "they come blocked: it cannot die of them"
        await run.end("cancelled", grace)
        os.write(gate._fd, b"hear\nhear\nend\n")
        ended = await run.wait()
    assert (ended.error, ended.cause, ended.survivors) == ("SIGQUIT SIGTERM", "cancelled", ())


@pytest.mark.parametrize("report", ["", "{half a re"])
async def test_what_a_shim_stood_for_may_go_on_when_it_leaves_no_report(bench, bell, gate, report):
    async with bench.link() as link:
        run = start(bench, link, report)
        gate.let_in()
        ended = await run.wait()
    assert not ended.is_known
    assert ended.survivors == (STANDS_FOR,)


async def test_a_killed_shim_is_no_killed_command(bench, bell, gate):
    async with bench.link() as link:
        run = start(bench, link, '{"exit_code": 0}')
        pid = int((await bell.line()).split()[0])
        os.kill(pid, signal.SIGKILL)
        ended = await run.wait()
    assert (ended.is_known, ended.survivors) == (False, (STANDS_FOR,))


async def test_the_next_keeper_takes_the_report_too(bench, bell, gate):
    async with bench.link() as link:
        run = start(bench, link, '{"exit_code": 3}')
        await bell.line()
        await run.started()
        await kill_keeper(bench)
        async with bench.link() as other:
            assert await other.watch(run.task).state() == "running"
        gate.let_in()
        ended = await run.wait()
    assert (ended.exit_code, ended.is_known, ended.survivors) == (3, True, ())


@pytest.mark.parametrize(
    ("report", "expected"), [('{"exit_code": 4}', (4, ())), ("", (None, (STANDS_FOR,)))], ids=["said", "lost"]
)
async def test_a_shim_that_ended_while_no_keeper_was_there(bench, bell, gate, report, expected):
    async with bench.link() as link:
        run = start(bench, link, report)
        pid = int((await bell.line()).split()[0])
        await run.started()
    await kill_keeper(bench)
    gate.let_in()
    await gone(pid)
    async with bench.link() as link:
        ended = await link.watch(run.task).wait()
    assert (ended.exit_code, ended.survivors) == expected


def test_one_that_does_not_end_is_killed_in_the_end(monkeypatch):
    sent = []
    monkeypatch.setattr(kept, "send", lambda number, family: sent.append((number.name, *family)))
    nobody = Process(pid=1 << 30, parent=1, session=1 << 30, is_zombie=False, start=0, name="shim")
    shim = Kept("t.1", "/nowhere", nobody, began=0.0, deadline=10.0, is_child=True, shim=STANDS_FOR)
    family = {nobody.pid: nobody}
    hastened = 10.0 + kept.TERM_GRACE
    last = hastened + kept.SHIM_PATIENCE

    def sent_at(now):
        sent.clear()
        assert not shim.next_step(now, family)
        return [name for name, *_ in sent]

    assert sent_at(10.0) == ["SIGTERM", "SIGCONT"]
    assert sent_at(hastened - 0.1) == []
    assert sent_at(hastened) == ["SIGQUIT"]
    assert sent_at(last - 0.1) == []
    assert sent_at(last) == ["SIGKILL"]
    assert shim.next_step(last + kept.GIVE_UP, family)


def test_the_verdict_has_the_word_of_the_place():
    ended = Exit(exit_code=137, error="no memory", reason="oom", warnings=("container_removed",))
    verdict = judge(Seen(Tally(), ended), 10)
    assert (verdict.status, verdict.reason, verdict.error) == (WorkerStatus.FAILED, "oom", "no memory")
    assert verdict.warnings == ("container_removed",)


# --- places that use one


async def test_a_place_hands_a_shim_over_and_finds_it_again(bench, bell, gate):
    worker = worker_in(bench)
    task = bench.state.add_task(worker, "the prompt", 20)
    script = "cat; echo $MAHAVISHNU_TASK $SAID; echo here > bell; read _ < gate; echo '{}' > \"$1/shim.json\""
    argv = ("/bin/sh", "-c", f"cd {bench.cwd}; {script}", "sh", str(task.directory))
    shim = Shim(argv, {"PATH": os.environ["PATH"], "SAID": "by the place"}, STANDS_FOR)
    async with open_engine(bench) as engine:
        await launch_shim(engine, worker, task, shim, "its input\n", 10, detached=True)
        await bell.line()
    async with open_engine(bench) as engine:
        run = await find_shim(engine, task)
        gate.let_in()
        ended = await run.wait()
    said = (task.directory / "stdout.jsonl").read_text()
    assert said == f"its input\n{task.task_id} by the place\n"
    assert ended.survivors == ()


async def test_elsewhere_a_command_gets_nothing_that_is_of_this_machine(bench, monkeypatch):
    for name in ("MY_TOKEN", "OTHER_TOKEN", "SSL_CERT_FILE", "MAHAVISHNU_MCP_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    command = Command(argv=("x",), env={"GIVEN": "1"}, pass_env=("MY_*", "MAHAVISHNU_*"), drop_env=())
    async with open_engine(bench) as engine:
        env = await environment_elsewhere(engine, command)
    assert env.items() >= {"LANG": "C.UTF-8", "MY_TOKEN": "secret", "GIVEN": "1"}.items()
    assert not env.keys() & {"PATH", "HOME", "OTHER_TOKEN", "SSL_CERT_FILE", "MAHAVISHNU_MCP_TOKEN"}
    assert int(env["MAHAVISHNU_DEPTH"]) > 0


async def test_words_that_linux_does_not_take_are_refused(bench):
    worker = worker_in(bench)
    task = bench.state.add_task(worker, "the prompt", 20)
    async with open_engine(bench) as engine:
        shim = Shim(("/bin/true", "x" * 131072), {}, STANDS_FOR)
        with pytest.raises(UsageError, match="131071"):
            await launch_shim(engine, worker, task, shim, "", 10, detached=False)


@pytest.mark.thorough
async def test_a_shim_alone_is_asked_and_its_own_family_once_it_has_left(bench, bell, gate):
    family = (
        "import os, signal, subprocess, sys; "
        "child = subprocess.Popen(['/bin/sh', '-c', 'trap \"echo TERM > bell\" TERM; echo up > bell; "
        "while :; do sleep 0.05; done'], preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, [])); "
        "signal.sigwait([signal.SIGTERM]); open('bell', 'w').write('asked\\n'); open('gate').readline()"
    )
    async with bench.link() as link:
        task = bench.task()
        launch = bench.launch(task, sys.executable, "-I", "-S", "-c", family, shim=STANDS_FOR)
        run = link.launch(task, launch)
        assert await bell.line() == "up"
        await run.end("cancelled", 0.5)
        assert await bell.line() == "asked"
        gate.let_in()
        assert await bell.line() == "TERM"
        ended = await run.wait()
    assert "sh" in {stray.split()[1] for stray in ended.strays}
    assert ended.duration_seconds < kept.SHIM_PATIENCE, "what outlives a shim has no time of its own"
