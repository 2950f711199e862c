"""The place ``local``: what it makes of a command before it hands it to the keeper."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest

from mahavishnu_core import Command
from mahavishnu_core.errors import MissingError, UsageError
from mahavishnu_core.keeper_link import KeeperLink
from mahavishnu_core.local import MayNotRun, find_program, give_back, launch_command, make_ready
from mahavishnu_core.models import Worker, WorkerType, utc_now


@attrs.frozen
class Engine:
    """The least that a place needs of one."""

    state_dir: Path
    _stack: AsyncExitStack
    _held: dict = attrs.field(factory=dict)

    async def hold(self, key, opener):
        if key not in self._held:
            self._held[key] = await self._stack.enter_async_context(opener())
        return self._held[key]


@asynccontextmanager
async def open_engine(bench):
    async with AsyncExitStack() as stack:
        yield Engine(bench.state.root, stack)


def worker_in(bench, workspace=None):
    worker = Worker(
        bench.state.new_worker_id(), WorkerType("shell", "shell"), workspace or bench.cwd, utc_now()
    )
    bench.state.add_worker(worker)
    return worker


async def carried_out(bench, command, *, worker=None, detached=False):
    """The exit of a command, and its standard output."""
    worker = worker or worker_in(bench)
    task = bench.state.add_task(worker, "the prompt", 20)
    async with open_engine(bench) as engine:
        run = await launch_command(engine, worker, task, command, 10, detached=detached)
        ended = await run.wait()
    return ended, (task.directory / "stdout.jsonl").read_bytes()


async def test_a_command_reads_what_its_agent_says_and_not_the_prompt(bench):
    ended, said = await carried_out(bench, Command(argv=("cat",), stdin="said by the agent"))
    assert (ended.exit_code, said) == (0, b"said by the agent")


async def test_a_command_that_is_given_nothing_to_read_finds_the_end_of_its_input(bench):
    _, said = await carried_out(bench, Command(argv=("cat",)))
    assert said == b""


async def test_a_megabyte_on_standard_input_arrives(bench):
    _, said = await carried_out(bench, Command(argv=("wc", "-c"), stdin="é" * 500_000))
    assert said.split() == [b"1000000"]


async def test_a_command_sees_only_the_variables_that_it_may(bench, monkeypatch):
    monkeypatch.setenv("SOME_SECRET", "canary")
    monkeypatch.setenv("VENDOR_KEY", "key")
    monkeypatch.setenv("CLAUDECODE", "1")
    command = Command(
        argv=("env",), env={"OWN": "1"}, pass_env=("VENDOR_*", "CLAUDE*"), drop_env=("CLAUDECODE",)
    )
    _, said = await carried_out(bench, command)
    names = {line.partition(b"=")[0].decode() for line in said.splitlines()}
    assert {"OWN", "VENDOR_KEY", "MAHAVISHNU_TASK", "PATH"} <= names
    assert not names & {"SOME_SECRET", "CLAUDECODE"}


async def test_no_value_of_the_environment_is_written_anywhere(bench):
    await carried_out(bench, Command(argv=("true",), env={"TOKEN": "canary-7"}))
    files = [path for path in bench.state.root.rglob("*") if path.is_file()]
    assert len(files) > 6
    assert not [path for path in files if b"canary-7" in path.read_bytes()]


async def test_a_command_has_the_umask_of_its_engine(bench):
    current = os.umask(0o022)
    os.umask(current)
    _, said = await carried_out(bench, Command(argv=("/bin/sh", "-c", "umask")))
    assert int(said, 8) == current


async def test_a_program_of_the_workspace_is_found_there(bench):
    workspace = bench.cwd / "work"
    workspace.mkdir()
    (workspace / "own").write_text("#!/bin/sh\necho $0\n")
    (workspace / "own").chmod(0o755)
    _, said = await carried_out(bench, Command(argv=("./own",)), worker=worker_in(bench, workspace))
    assert Path(said.decode().strip()) == workspace / "own"


async def test_a_missing_program_is_said_before_anything_is_started(bench):
    worker = worker_in(bench)
    task = bench.state.add_task(worker, "the prompt", 20)
    async with open_engine(bench) as engine:
        with pytest.raises(MissingError, match=r"^'no-such-agent' is not installed, or not in PATH$"):
            await launch_command(engine, worker, task, Command(argv=("no-such-agent",)), 10, detached=False)
    assert {path.name for path in task.directory.iterdir()} == {"task.json", "stored"}


async def test_an_engine_has_one_link_for_all_its_commands(bench):
    async with open_engine(bench) as engine:
        for _ in range(3):
            worker = worker_in(bench)
            task = bench.state.add_task(worker, "the prompt", 20)
            run = await launch_command(engine, worker, task, Command(argv=("true",)), 10, detached=False)
            await run.wait()
        (place,) = engine._held.values()
        assert isinstance(place.link, KeeperLink)


async def test_the_command_of_another_engine_is_found_again(bench, gate):
    worker = worker_in(bench)
    task = bench.state.add_task(worker, "the prompt", 20)
    command = Command(argv=("/bin/sh", "-c", "read _ < gate; exit 3"))
    async with open_engine(bench) as first, open_engine(bench) as second:
        run = await launch_command(first, worker, task, command, 10, detached=False)
        await run.started()
        found = await launch_command(second, worker, task, None, 10, detached=False)
        gate.let_in()
        assert (await found.wait()).exit_code == 3


async def test_a_worker_needs_an_existing_workspace(tmp_path):
    kind = WorkerType("shell", "shell")
    assert await make_ready(Worker("w1", kind, tmp_path, "")) == {}
    with pytest.raises(UsageError, match=r"/gone' is not a directory: name an existing one with --repo$"):
        await make_ready(Worker("w1", kind, tmp_path / "gone", ""))
    assert await give_back() is None


def test_a_program_is_looked_up_as_a_shell_would(tmp_path):
    program = tmp_path / "bin" / "tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = f"/nowhere:{program.parent}"
    assert find_program("tool", path, tmp_path) == str(program)
    assert find_program("bin/tool", "/nowhere", tmp_path) == str(program)
    assert find_program(str(program), "/nowhere", Path("/")) == str(program)


def test_a_program_that_may_not_be_run_is_said_to_be_there(tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(MayNotRun, match=r"^'./tool' may not be run: allow it with 'chmod \+x'$"):
        find_program("./tool", "/nowhere", tmp_path)


@pytest.mark.parametrize("name", ["tool", "./tool", "no-such", "bin", ""])
def test_what_cannot_be_executed_is_not_found(tmp_path, name):
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "bin").mkdir()
    with pytest.raises(MissingError):
        find_program(name, str(tmp_path), tmp_path)
