"""The state directory: what is in it is whole, written once, private, and reached by no name but its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.damage import damaged_tasks
from mahavishnu_core.errors import StateDirError, UnknownTask, UnknownWorker, WorkerBusy
from mahavishnu_core.models import Exit, Task, Worker, WorkerResult, WorkerStatus, WorkerType, utc_now
from mahavishnu_core.records import exit_from_json
from mahavishnu_core.state import StateDir, state_dir_path

SHELL = WorkerType("shell", "shell")
DONE = WorkerStatus.COMPLETED


def add_worker(state: StateDir, kind: WorkerType = SHELL) -> Worker:
    worker = Worker(state.new_worker_id(), kind, Path("/somewhere"), utc_now())
    state.add_worker(worker)
    return worker


def settled(state: StateDir, worker: Worker, **metadata: object) -> Task:
    """A task of the worker that has ended."""
    task = state.add_task(worker, "a prompt", 300)
    state.settle(task, WorkerResult(worker.worker_id, DONE, metadata=metadata))
    return task


def temporary_files(root: Path) -> list[Path]:
    """Whatever is there under a name that is none of ours."""
    ours = {"worker.json", "task.json", "result.json", "exit.json", "launch.json", "closed", "stdin"}
    files = [path for path in (root / "workers").rglob("*") if path.is_file()]
    return [path for path in files if path.name not in ours and path.parent.name != "stored"]


# --- the directory


def test_the_directory_is_made_for_its_owner_alone(tmp_path):
    state = StateDir(tmp_path / "deep" / "state")
    state.prepare()
    assert stat.S_IMODE(state.root.stat().st_mode) == 0o700


def test_a_directory_that_was_open_to_others_is_closed_to_them(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    StateDir(tmp_path / "state").prepare()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateDirError) as caught:
        StateDir(tmp_path / "file" / "state").prepare()
    assert str(caught.value) == (
        f"cannot write the state directory '{tmp_path}/file/state' (Not a directory): "
        "make it writable, or name another one in MAHAVISHNU_STATE_DIR"
    )


def test_the_directory_is_named_by_the_environment_or_by_the_platform(monkeypatch):
    assert state_dir_path({"MAHAVISHNU_STATE_DIR": "/a/b"}) == Path("/a/b")
    assert state_dir_path({"MAHAVISHNU_STATE_DIR": "rel"}) == Path.cwd() / "rel"
    monkeypatch.setenv("XDG_STATE_HOME", "/home/x/state")
    assert state_dir_path({"MAHAVISHNU_STATE_DIR": ""}) == Path("/home/x/state/mahavishnu")


def test_without_a_home_it_is_said_how_to_name_the_directory(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(StateDirError, match=r"^there is no home directory .* set HOME"):
        state_dir_path({})


@contextmanager
def files_stay_empty() -> Iterator[None]:
    """As on a full disk: a file can be made, and nothing be written to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_task_that_cannot_be_written_leaves_no_draft_and_can_be_given_again(state):
    worker = add_worker(state)
    with files_stay_empty(), pytest.raises(OSError, match="File too large"):
        state.add_task(worker, "a prompt", 60)
    assert list((state.root / "workers").rglob("tasks/*")) == []
    assert list(state.open_tasks()) == []
    assert state.add_task(worker, "a prompt", 60).task_id == f"{worker.worker_id}.1"


def test_a_result_that_cannot_be_written_leaves_no_draft_and_can_be_given_again(state):
    worker = add_worker(state)
    task, result = state.add_task(worker, "a prompt", 60), WorkerResult(worker.worker_id, DONE)
    with files_stay_empty(), pytest.raises(OSError, match="File too large"):
        state.settle(task, result)
    assert temporary_files(state.root) == []
    assert state.settle(task, result) == state.result(task)


def test_k6_everything_is_private_whatever_the_umask(state):
    before = os.umask(0)
    try:
        root = StateDir(state.root.parent / "open")
        root.prepare()
        worker = add_worker(root)
        task = settled(root, worker)
        root.write_stdin(task, "text")
        root.mark_stored(task, "sqlite")
        root.close_worker(worker.worker_id)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root.root, *root.root.rglob("*")]}
    assert len(modes) > 12
    assert {path: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


# --- workers


def test_an_id_is_a_letter_and_seven_letters_or_digits_and_never_given_twice(state):
    ids = [state.new_worker_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(len(one) == 8 and one[0].isalpha() and one.isalnum() and one == one.lower() for one in ids)


def test_a_worker_that_is_being_made_is_not_listed(state):
    claimed = state.new_worker_id()
    worker = add_worker(state)
    assert state.workers() == [worker]
    with pytest.raises(UnknownWorker):
        state.worker(claimed)


def test_an_id_that_was_given_back_leaves_nothing(state):
    state.forget_worker_id(state.new_worker_id())
    assert list((state.root / "workers").iterdir()) == []


def test_workers_are_listed_oldest_first_and_closed_ones_only_when_asked_for(state):
    first, second, third = (add_worker(state) for _ in range(3))
    state.close_worker(second.worker_id)
    assert state.workers() == [first, third]
    assert state.workers(with_closed=True) == [first, second, third]
    assert [state.is_closed(worker.worker_id) for worker in (first, second)] == [False, True]


def test_an_unknown_worker_is_named_with_how_to_list_them(state):
    with pytest.raises(
        UnknownWorker, match=r"^there is no worker 'w1': list them with 'mahavishnu workers list"
    ):
        state.worker("w1")


NO_IDS = [
    "",
    ".",
    "..",
    "../x",
    "/etc",
    "a/b",
    "a\0b",
    "a\nb",
    "-",
    "-x",
    "\ud800",
    "é",
    "x" * 5000,
    "~",
    "*",
]


@pytest.mark.parametrize("name", NO_IDS, ids=lambda name: ascii(name[:9]))
def test_k5_no_id_is_ever_a_path(state, name):
    (state.root / "x").mkdir()
    (state.root / "x" / "worker.json").write_text("{}")
    (state.root / "x" / "task.json").write_text("{}")
    with pytest.raises(UnknownWorker):
        state.worker(name)
    with pytest.raises(UnknownTask):
        state.task(name)
    with pytest.raises(UnknownTask):
        state.task(f"{name}.1")


# --- tasks


def test_tasks_are_counted_from_one(state):
    worker = add_worker(state)
    tasks = [settled(state, worker) for _ in range(12)]
    assert [task.task_id for task in tasks] == [f"{worker.worker_id}.{n}" for n in range(1, 13)]
    assert state.tasks(worker.worker_id) == tasks
    assert state.last_task(worker.worker_id) == tasks[-1]


def test_a_worker_has_one_task_at_a_time(state):
    worker = add_worker(state)
    task = state.add_task(worker, "first", 300)
    with pytest.raises(
        WorkerBusy, match=f"^worker {worker.worker_id!r} is busy with task {task.task_id!r}: "
    ):
        state.add_task(worker, "second", 300)
    assert state.tasks(worker.worker_id) == [task]


def test_of_many_who_give_a_worker_a_task_at_once_one_succeeds(state):
    worker = add_worker(state)

    def give(number: int) -> str | None:
        try:
            return state.add_task(worker, f"prompt {number}", 300).prompt
        except WorkerBusy:
            return None

    with ThreadPoolExecutor(8) as pool:
        given_ = [prompt for prompt in pool.map(give, range(24)) if prompt]
    assert len(given_) == 1
    assert [task.prompt for task in state.tasks(worker.worker_id)] == given_
    assert temporary_files(state.root) == []


def test_one_who_is_faster_after_we_have_looked_has_the_worker(state, monkeypatch):
    worker, look = add_worker(state), StateDir.task_ids

    def look_and_be_slow(self: StateDir, worker_id: str) -> list[str]:
        found = look(self, worker_id)
        monkeypatch.undo()
        state.add_task(worker, "faster", 300)
        return found

    monkeypatch.setattr(StateDir, "task_ids", look_and_be_slow)
    with pytest.raises(WorkerBusy):
        state.add_task(worker, "slower", 300)
    assert [task.prompt for task in state.tasks(worker.worker_id)] == ["faster"]


CONTENDER = """
import sys
from pathlib import Path
from mahavishnu_core.errors import WorkerBusy
from mahavishnu_core.models import WorkerResult, WorkerStatus
from mahavishnu_core.state import StateDir

state = StateDir(Path(sys.argv[1]))
worker = state.worker(sys.argv[2])
for number in range(40):
    try:
        task = state.add_task(worker, "x" * 5000, 300)
    except WorkerBusy:
        continue
    state.settle(task, WorkerResult(worker.worker_id, WorkerStatus.COMPLETED))
    print(task.task_id, flush=True)
"""


def contender(state: StateDir, worker: Worker) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CONTENDER, str(state.root), worker.worker_id]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_engines_in_several_processes_never_share_a_task(state):
    worker = add_worker(state)
    engines = [contender(state, worker) for _ in range(3)]
    ids = [line for engine in engines for line in engine.communicate()[0].split()]
    assert [engine.returncode for engine in engines] == [0, 0, 0]
    assert sorted(ids) == sorted(task.task_id for task in state.tasks(worker.worker_id))
    assert len(set(ids)) == len(ids) > 0


def test_d2_an_engine_killed_while_it_writes_leaves_nothing_in_part(state):
    worker = add_worker(state)
    with contender(state, worker) as engine:
        for _ in range(10):
            engine.stdout.readline()
        engine.kill()
    tasks = state.tasks(worker.worker_id)
    assert len(tasks) >= 10
    assert {task.prompt for task in tasks} == {"x" * 5000}
    assert {task.task_id for task in state.open_tasks()} == {task.task_id for task in tasks}
    assert [state.result(task) is not None for task in tasks[:-1]] == [True] * (len(tasks) - 1)


def test_an_unknown_task_is_named_with_how_to_list_them(state):
    with pytest.raises(UnknownTask, match=r"^there is no task 'w\.1': list the results"):
        state.task("w.1")


def test_what_a_command_reads_is_kept_byte_for_byte(state):
    task = state.add_task(add_worker(state), "a prompt", 300)
    state.write_stdin(task, os.fsdecode(b"caf\xe9 \0 \xe2\x82\xac\r\n"))
    assert (task.directory / "stdin").read_bytes() == b"caf\xe9 \0 \xe2\x82\xac\r\n"


def test_a_task_is_open_until_nothing_is_left_to_do_for_it(state):
    task = settled(state, add_worker(state))
    assert list(state.open_tasks()) == [task]
    state.mark_done(task)
    state.mark_done(task)
    assert list(state.open_tasks()) == []


def test_what_is_stored_is_known_for_each_storage(state):
    task = settled(state, add_worker(state))
    state.mark_stored(task, "sqlite")
    state.mark_stored(task, "sqlite")
    assert (state.is_stored(task, "sqlite"), state.is_stored(task, "other")) == (True, False)


def test_a_task_that_this_process_was_given_has_a_living_owner(state):
    task = state.add_task(add_worker(state), "a prompt", 300)
    assert state.owner_lives(task)


@pytest.mark.parametrize("lie", [{"pid": 1 << 30}, {"start_time": 1}, {"boot_id": "another"}], ids=str)
def test_an_owner_is_told_from_others_by_pid_start_time_and_boot(state, lie):
    task = state.add_task(add_worker(state), "a prompt", 300)
    record = json.loads((task.directory / "task.json").read_text())
    (task.directory / "task.json").write_text(json.dumps(record | {"engine": record["engine"] | lie}))
    assert not state.owner_lives(task)


# --- the conversation


def test_the_first_task_begins_a_conversation_of_ours(state):
    first, second = (state.add_task(add_worker(state), "hello", 300) for _ in range(2))
    assert (first.resume, second.resume) == (False, False)
    assert len(first.session_id) == 36
    assert first.session_id != second.session_id


def test_the_next_task_goes_on_with_the_conversation_that_the_agent_named(state):
    worker = add_worker(state)
    settled(state, worker, session_id="the-vendors-own")
    task = state.add_task(worker, "go on", 300)
    assert (task.session_id, task.resume) == ("the-vendors-own", True)


def test_a_conversation_outlasts_a_task_that_never_got_as_far_as_naming_it(state):
    worker = add_worker(state)
    settled(state, worker, session_id="s-1")
    settled(state, worker, session_id=None, reason="signal")
    task = state.add_task(worker, "go on", 300)
    assert (task.session_id, task.resume) == ("s-1", True)


def test_a_conversation_that_the_vendor_has_lost_is_begun_anew(state):
    worker = add_worker(state)
    settled(state, worker, session_id="s-1")
    settled(state, worker, session_id="s-1", reason="session_lost")
    task = state.add_task(worker, "go on", 300)
    assert task.session_id != "s-1"
    assert not task.resume


def test_without_any_session_the_next_task_begins_one(state):
    worker = add_worker(state)
    first = settled(state, worker)
    second = state.add_task(worker, "again", 300)
    assert not second.resume
    assert second.session_id != first.session_id


# --- how a task stands


def test_a_task_is_pending_then_running_then_what_its_result_says(state):
    worker = add_worker(state)
    task = state.add_task(worker, "a prompt", 300)
    seen = [state.status(task)]
    (task.directory / "launch.json").write_text('{"started": "2026-01-01T00:00:00+00:00"}')
    seen.append(state.status(task))
    state.settle(task, WorkerResult(worker.worker_id, WorkerStatus.TIMEOUT))
    seen.append(state.status(task))
    assert seen == [WorkerStatus.PENDING, WorkerStatus.RUNNING, WorkerStatus.TIMEOUT]
    assert state.launched_at(task) == "2026-01-01T00:00:00+00:00"


def test_a_command_that_may_act_already_is_running_though_that_is_not_written_down_yet(state):
    task = state.add_task(add_worker(state), "a prompt", 300)
    (task.directory / "stdout.jsonl").touch()
    assert state.status(task) is WorkerStatus.RUNNING
    assert state.waits_elsewhere(task), "who follows it waits until it is"


def test_a_link_in_the_place_of_output_is_no_command(state):
    task = state.add_task(add_worker(state), "a prompt", 300)
    (task.directory / "stdout.jsonl").symlink_to("/dev/null")
    assert state.status(task) is WorkerStatus.PENDING


def test_nothing_is_known_of_a_task_that_has_not_begun(state):
    task = state.add_task(add_worker(state), "a prompt", 300)
    assert (state.exit(task), state.result(task), state.launched_at(task)) == (None, None, None)


def test_the_first_result_stands(state):
    worker = add_worker(state)
    task = state.add_task(worker, "a prompt", 300)
    first = state.settle(task, WorkerResult(worker.worker_id, DONE, output="first"))
    second = state.settle(task, WorkerResult(worker.worker_id, WorkerStatus.FAILED, error="second"))
    assert first == second == state.result(task)
    assert first.output == "first"
    assert temporary_files(state.root) == []


@pytest.mark.parametrize("left", ["", '{"worker_id": "w', "link"])
def test_a_result_that_a_power_cut_has_left_empty_or_cut_does_not_stand(state, tmp_path, left):
    worker = add_worker(state)
    task = state.add_task(worker, "go", 300)
    path, victim = task.directory / "result.json", tmp_path / "victim"
    victim.touch()
    path.symlink_to(victim) if left == "link" else path.write_text(left)
    assert state.result(task) is None
    result = WorkerResult(worker.worker_id, WorkerStatus.COMPLETED, "said")
    assert state.settle(task, result) == result == state.result(task)
    assert victim.read_bytes() == b""


def test_of_many_who_settle_at_once_all_get_the_one_that_stands(state):
    worker = add_worker(state)
    task = state.add_task(worker, "a prompt", 300)

    def settle(number: int) -> WorkerResult:
        return state.settle(task, WorkerResult(worker.worker_id, DONE, output=str(number) * 10_000))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(settle, range(10)))
    assert set(map(str, results)) == {str(state.result(task))}


# --- records


SOME_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(min_size=1, max_size=12)
SECONDS = st.none() | st.floats(0, 1e6)
WORKER_TYPES = st.builds(
    WorkerType,
    name=NAMES,
    agent=NAMES,
    place=NAMES,
    command_template=NAMES,
    description=NAMES,
    aliases=st.lists(NAMES, max_size=2).map(tuple),
    result_storage=st.none() | NAMES,
    timeout_seconds=SECONDS,
    idle_seconds=SECONDS,
    pass_env=st.lists(NAMES, max_size=2).map(tuple),
    env=st.just({"SECRET_NAME": "a canary"}),
    install=NAMES,
)
PATHS = st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=20).map(
    lambda text: Path("/") / text
)


@settings(max_examples=40, deadline=None)
@given(kind=WORKER_TYPES, workspace=PATHS, facts=st.dictionaries(NAMES, SOME_JSON, max_size=3))
def test_a_worker_is_read_as_it_was_written_but_for_its_environment(kind, workspace, facts):
    with tempfile.TemporaryDirectory() as root:
        state = StateDir(Path(root))
        state.prepare()
        worker = Worker(state.new_worker_id(), kind, workspace, utc_now(), facts)
        state.add_worker(worker)
        found = state.worker(worker.worker_id)
    assert found == attrs.evolve(worker, type=attrs.evolve(kind, env={}))


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.text() | st.binary().map(os.fsdecode),
    timeout=st.floats(0.1, 1e9),
    key=st.none() | st.text(),
)
def test_a_task_is_read_as_it_was_written(prompt, timeout, key):
    with tempfile.TemporaryDirectory() as root:
        state = StateDir(Path(root))
        state.prepare()
        task = state.add_task(add_worker(state), prompt, timeout, key)
        assert state.task(task.task_id) == task
        assert task.idempotency_key == key


@given(
    st.builds(
        Exit,
        exit_code=st.none() | st.integers(0, 255),
        signal=st.none() | st.just("SIGKILL"),
        duration_seconds=st.floats(0, 1e9),
        cause=st.sampled_from([None, "wall", "cancelled"]),
        error=st.none() | st.text(),
        strays=st.lists(st.text(), max_size=2).map(tuple),
    )
)
def test_an_exit_is_read_as_it_was_written(ended):
    record = json.loads(json.dumps(attrs.asdict(ended)))
    assert exit_from_json(record | {"of_a_later_version": 1}) == ended


def test_no_value_of_an_environment_is_in_any_file(state):
    kind = WorkerType("x", "shell", env={"SOME_TOKEN": "canary-1"}, pass_env=("OTHER_TOKEN",))
    settled(state, add_worker(state, kind))
    files = [path.read_bytes() for path in state.root.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(b"canary-1" in content for content in files)


def test_a_task_whose_file_a_power_cut_has_emptied_is_none_and_keeps_no_other_from_its_worker(
    state: StateDir,
) -> None:
    worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), state.root, "2026-01-01")
    state.add_worker(worker)
    first = state.add_task(worker, "one", 60)
    state.settle(first, WorkerResult(worker.worker_id, WorkerStatus.COMPLETED))
    damaged = state.add_task(worker, "two", 60)
    (damaged.directory / "task.json").write_bytes(b"")
    assert (state.tasks(worker.worker_id), state.last_task(worker.worker_id)) == ([first], first)
    third = state.add_task(worker, "three", 60)
    assert third.task_id == f"{worker.worker_id}.3"
    assert state.tasks(worker.worker_id) == [first, third]


def test_what_somebody_puts_among_the_tasks_of_a_worker_is_none_of_them(state: StateDir) -> None:
    worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), state.root, "2026-01-01")
    state.add_worker(worker)
    task = state.add_task(worker, "Go", 60)
    tasks = task.directory.parent
    for name in ("notes.txt", "x.1.bak", f"{worker.worker_id}.one", "7"):
        (tasks / name).touch()
    assert state.last_task(worker.worker_id) == task
    assert [*damaged_tasks(state)] == []
    shutil.rmtree(tasks)
    tasks.write_text("")
    assert state.last_task(worker.worker_id) is None
