"""A shim's own parts, without any container: its box, its socket, and what it says to a daemon."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import socket
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mahavishnu_container.shim import follow, watch
from mahavishnu_container.shim import progress as progress_module
from mahavishnu_container.shim.api import Daemon, DaemonError
from mahavishnu_container.shim.box import Box, Pipes
from mahavishnu_container.shim.follow import report
from mahavishnu_container.shim.progress import MOST_REPORTS, ProgressSocket
from mahavishnu_container.shim.start import Command, Starting, begin
from mahavishnu_container.shim.tree import remove_tree
from mahavishnu_container.shim.watch import Ended, _exit_code

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""A shim leaves it to its end to close what it has."""


@pytest.fixture(autouse=True)
def place():
    """A box takes this program's directory and umask."""
    home, umask = Path.cwd(), os.umask(0o077)
    yield
    os.chdir(home)
    os.umask(umask)


@pytest.fixture
def task(tmp_path):
    """The directory of a task whose command is about to start, of a prompt on standard input."""
    directory = tmp_path / "task"
    directory.mkdir()
    for name in ("stdout.jsonl", "stderr.log", "progress.jsonl", "stdin"):
        (directory / name).write_text(f"the {name}\n" if name == "stdin" else "")
    return directory


@pytest.fixture
def boxes(tmp_path):
    path = tmp_path / "boxes"
    path.mkdir(0o700)
    return path


@pytest.fixture
def box(boxes, task):
    return Box(str(boxes), str(task), is_shared=False)


def modes(directory):
    return {path.name: stat.filemode(path.lstat().st_mode) for path in directory.iterdir()}


# --- the box


def test_a_box_of_ours_is_for_us_alone(boxes, box):
    directory = boxes / box.name
    assert stat.filemode(directory.stat().st_mode) == "drwx------"
    assert modes(directory) == {
        "stdin": "-rw-------",
        "stdout": "-rw-------",
        "stderr": "-rw-------",
        "control": "prw-------",
        "report": "prw-------",
        "reply": "prw-------",
    }
    assert box.inside == f"/run/mahavishnu/{box.name}"


def test_a_box_for_another_user_is_open_below_a_name_that_nobody_knows(boxes, task):
    box = Box(str(boxes), str(task), is_shared=True)
    assert set(modes(boxes / box.name).values()) == {"-rw-rw-rw-", "prw-rw-rw-"}
    assert stat.filemode((boxes / box.name).stat().st_mode) == "drwxrwxrwx"
    assert len(box.name) == 12
    assert box.name != Box(str(boxes), str(task), is_shared=True).name


def test_what_is_written_in_a_box_is_in_the_tasks_own_files(boxes, box, task):
    (boxes / box.name / "stdout").write_bytes(b"out\0put")
    (boxes / box.name / "stderr").write_text("error")
    assert (task / "stdout.jsonl").read_bytes() == b"out\0put"
    assert (task / "stderr.log").read_text() == "error"
    assert (boxes / box.name / "stdin").read_text() == "the stdin\n"


def test_a_link_that_a_command_has_kept_leads_to_nothing_of_the_task_afterwards(boxes, box, task):
    (boxes / box.name / "stdout").write_text("said")
    os.link(boxes / box.name / "stdout", boxes / "kept")
    os.link(boxes / box.name / "stdin", boxes / "kept input")
    box.close()
    (boxes / "kept").write_text("forged")
    (boxes / "kept input").write_text("forged")
    assert (task / "stdout.jsonl").read_text() == "said"
    assert (task / "stdin").read_text() == "the stdin\n"
    assert set(modes(task).values()) == {"-rw-------"}


def test_files_that_a_command_has_closed_are_ours_to_read_again(boxes, task):
    box = Box(str(boxes), str(task), is_shared=True)
    (boxes / box.name / "stdout").chmod(0)
    box.close()
    assert modes(task)["stdout.jsonl"] == modes(task)["stderr.log"] == "-rw-------"


def test_a_report_that_does_not_fit_waits_for_room_on_a_full_disk(task, monkeypatch):
    tried, write = [], follow._write

    def full_at_first(content, directory):
        tried.append(content)
        if len(tried) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(content, directory)

    monkeypatch.setattr(follow, "_NO_ROOM", 0)
    monkeypatch.setattr(follow, "_write", full_at_first)
    follow.report(Ended(exit_code=3), str(task))
    assert len(tried) == 3
    assert json.loads((task / "shim.json").read_text()) == {"exit_code": 3}


def test_a_task_without_input_has_an_empty_one_and_no_file_for_it(boxes, task):
    (task / "stdin").unlink()
    box = Box(str(boxes), str(task), is_shared=False)
    assert (boxes / box.name / "stdin").read_text() == ""
    assert not (task / "stdin").exists()


def test_what_becomes_of_the_names_in_a_box_changes_nothing_of_the_task(boxes, box, task):
    (task / "stdout.jsonl").write_text("said")
    (boxes / box.name / "stdout").unlink()
    (boxes / box.name / "stdout").symlink_to("/etc/passwd")
    box.close()
    assert (task / "stdout.jsonl").read_text() == "said"
    assert list(boxes.iterdir()) == []


@pytest.mark.parametrize("name", ["control", "reply", "report"])
@pytest.mark.parametrize("planted", ["file", "directory", "link to a file", "link to a pipe", "nothing"])
def test_what_is_put_in_the_place_of_a_pipe_is_not_opened(boxes, box, tmp_path, name, planted):
    path, elsewhere = boxes / box.name / name, tmp_path / "elsewhere"
    path.unlink()
    if planted == "file":
        path.write_text("junk")
    elif planted == "directory":
        path.mkdir()
    elif planted.startswith("link"):
        os.mkfifo(elsewhere) if planted.endswith("pipe") else elsewhere.write_text("untouched")
        path.symlink_to(elsewhere)
    with pytest.raises(OSError):
        box.open()
    assert not elsewhere.is_file() or elsewhere.read_text() == "untouched"


def test_a_box_is_not_made_where_a_link_leads(boxes, task, tmp_path, monkeypatch):
    (tmp_path / "victim").mkdir()

    def plant(path, mode):
        Path(path).symlink_to(tmp_path / "victim")

    monkeypatch.setattr("os.mkdir", plant)
    with pytest.raises(OSError):
        Box(str(boxes), str(task), is_shared=False)
    assert list((tmp_path / "victim").iterdir()) == []


def test_f5_a_box_with_junk_in_it_is_removed_and_no_link_is_followed(boxes, box, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("untouched")
    directory = boxes / box.name
    (directory / "junk/deep/er").mkdir(parents=True)
    (directory / "junk/deep/file").write_text("x")
    (directory / "junk/link").symlink_to(victim)
    (directory / "to-victim").symlink_to(victim)
    os.mkfifo(directory / "junk/pipe")
    (directory / "junk/huge").touch()
    os.truncate(directory / "junk/huge", 1 << 40)
    box.close()
    assert list(boxes.iterdir()) == []
    assert (victim / "file").read_text() == "untouched"


def test_what_cannot_be_removed_stays_and_nothing_is_raised(boxes, box, monkeypatch):
    directory = boxes / box.name
    (directory / "junk").mkdir()
    (directory / "junk/kept").write_text("x")
    rmdir, unlink = os.rmdir, os.unlink

    def refuse(path, **more):
        if "kept" in str(path) or len(str(path)) == 16:  # by its own name, and by that which it is moved to
            raise PermissionError(13, "Permission denied")
        (rmdir if Path(path).name in ("junk", box.name) else unlink)(path, **more)

    monkeypatch.setattr("os.unlink", refuse)
    monkeypatch.setattr("os.rmdir", lambda path, **more: rmdir(path, **more))
    box.close()
    (left,) = directory.iterdir()
    assert left.read_text() == "x"


@pytest.mark.thorough
def test_a_tree_of_any_depth_is_removed(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    os.chdir(top)
    for _ in range(1050):
        Path("d").mkdir()
        os.chdir("d")
    Path("treasure").write_text("x")
    os.chdir("/")
    remove_tree(str(top))
    assert not top.exists()


def test_a_tree_that_is_not_there_or_a_link_is_left_alone(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "link").symlink_to("victim")
    remove_tree(str(tmp_path / "nothing"))
    remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "victim").is_dir()


# --- the socket for progress


@pytest.fixture
def hears(box, task):
    """A socket in the box."""
    hears = ProgressSocket("progress.sock", str(task))
    yield hears
    hears._listener.close()


def say(*pieces):
    """A caller that says this, and stays."""
    caller = socket.socket(socket.AF_UNIX)
    caller.connect("progress.sock")
    for piece in pieces:
        caller.sendall(piece)
    return caller


def attend(hears, rounds=50):
    for _ in range(rounds):
        hears.attend({fd for fd in hears.files if _is_ready(fd)})
        hears.write()


def _is_ready(descriptor):
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def records(task):
    return [json.loads(line) for line in (task / "progress.jsonl").read_bytes().splitlines()]


def test_a_report_is_kept_with_the_size_of_the_output_when_it_came(hears, task):
    with say(b'{"n": 1}\n'):
        attend(hears)
        (task / "stdout.jsonl").write_text("12345")
    with say(b'{"n": 2}\n{"n"', b": 3}"):
        attend(hears)
    attend(hears)
    assert records(task) == [
        {"at": 0, "report": {"n": 1}},
        {"at": 5, "report": {"n": 2}},
        {"at": 5, "report": {"n": 3}},
    ]
    assert not hears.has_news()


HOSTILE = {
    b"\xff\xfe\0\n": "\ufffd\ufffd\0",
    b"{half\n": "{half",
    b"NaN\n": "NaN",
    b'{"a": Infinity}\n': '{"a": Infinity}',
    b"[" * 5000 + b"\n": "[" * 5000,
    b'"\\ud800"\n': "\ud800",
    b'{"at": 99, "report": 1}\n': {"at": 99, "report": 1},
    b'"line\\nbreak"\n': "line\nbreak",
    b"1e999\n": "1e999",
    b"5\r\n": 5,
}


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_sent_is_one_record_on_one_line(hears, task, line):
    with say(line, b'{"n": 2}\n'):
        attend(hears)
    assert [record["report"] for record in records(task)] == [HOSTILE[line], {"n": 2}]


def test_empty_lines_are_no_reports(hears, task):
    with say(b"\n\n \n\t\n1\n"):
        attend(hears)
    assert len(records(task)) == 1


def test_a_line_without_end_is_cut_off_and_others_are_heard(hears, task):
    caller = say()
    caller.setblocking(False)
    for _ in range(10):
        with suppress(OSError):
            caller.send(b"x" * (1 << 16))
        attend(hears, 3)
    with say(b"1\n"):
        attend(hears)
    assert [record["report"] for record in records(task)] == [1]
    with pytest.raises(OSError):
        caller.sendall(b"x" * (1 << 16))


def test_reports_beyond_the_most_are_not_read(hears, task, monkeypatch):
    monkeypatch.setattr(progress_module, "MOST_REPORTS", 10)
    assert MOST_REPORTS == 10_000
    with say(b"1\n" * 8), say(b"2\n" * 8):
        attend(hears)
    with say(b"3\n"):
        attend(hears)
    assert len(records(task)) == 10
    assert 3 not in [record["report"] for record in records(task)]


def test_reports_beyond_so_many_bytes_are_not_read(hears, task, monkeypatch):
    monkeypatch.setattr(progress_module, "MOST_BYTES", 1000)
    with say(b"%s\n" % json.dumps("x" * 600).encode() * 3):
        attend(hears)
    with say(b"3\n"):
        attend(hears)
    assert [record["report"] for record in records(task)] == ["x" * 600] * 2


def test_a_report_is_written_down_before_its_caller_is_hung_up_on(hears, task):
    caller = say(b"1\n")
    caller.shutdown(socket.SHUT_WR)
    while not hears._callers:
        hears.attend({hears._listener.fileno()})
    hears.attend(set(hears._callers))
    while hears._callers:
        hears.attend(set(hears._callers))
    assert [record["report"] for record in records(task)] == [1]
    assert caller.recv(1) == b""
    caller.close()


def test_callers_that_say_nothing_keep_nobody_out_for_ever(hears, task):
    silent = [say() for _ in range(16)]
    attend(hears)
    waiting = say(b"1\n")
    attend(hears)
    assert records(task) == []
    silent.pop().close()
    attend(hears)
    assert [record["report"] for record in records(task)] == [1]
    for caller in [*silent, waiting]:
        caller.close()
    attend(hears)
    assert not hears.has_news()


def test_a_caller_that_is_gone_before_it_is_let_in_is_heard_all_the_same(hears, task):
    say(b"1\n2").close()
    attend(hears)
    assert [record["report"] for record in records(task)] == [1, 2]


def test_nothing_is_written_while_a_reader_holds_the_lock_and_all_afterwards(hears, task):
    with (task / "progress.jsonl").open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        with say(b"1\n2\n"):
            attend(hears)
            assert not hears.write()
            assert records(task) == []
            assert hears.has_news()
            (task / "stdout.jsonl").write_text("meanwhile")
        fcntl.flock(reader, fcntl.LOCK_UN)
    assert hears.write()
    assert records(task) == [{"at": 9, "report": 1}, {"at": 9, "report": 2}]


def test_a_full_disk_keeps_whole_records_and_the_rest_for_later(hears, task, monkeypatch):
    write = os.write
    monkeypatch.setattr("os.write", lambda file, data: write(file, data[:7]))
    with say(b"1\n2\n"):
        attend(hears, 5)
    assert (task / "progress.jsonl").read_bytes() == b""
    monkeypatch.setattr("os.write", write)
    assert hears.write()
    assert [record["report"] for record in records(task)] == [1, 2]


# --- what is said to a daemon


def words(seed):
    """Words as a prompt may have them: quotes, controls, signs beyond the first plane, half characters."""
    chosen = random.Random(seed)
    signs = [*map(chr, range(1, 256)), "\u2028", "\ud7ff", "\udce9", "\ufeff", "\uffff", "🎉", '"', "\\"]
    return ["".join(chosen.choices(signs, k=chosen.randrange(40))) for _ in range(5)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("attach", [False, True])
def test_a_command_is_told_as_it_is_meant(seed, attach):
    argv, env = words(seed), words(seed + 1000)
    command = Command(argv, "0:0", "/workspace", env)
    assert json.loads(command.as_json(attach=attach)) == {
        "Cmd": argv,
        "Env": env,
        "User": "0:0",
        "WorkingDir": "/workspace",
        "AttachStdout": attach,
    }


def test_a_report_for_the_keeper_is_what_was_seen(task):
    seen = Ended(exit_code=None, error='a "quoted" — \0 text', strays=["7 sl\need"], reason=None)
    report(seen, str(task))
    assert json.loads((task / "shim.json").read_text()) == seen
    assert stat.S_IMODE((task / "shim.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("word", "code"),
    [("exit 3", 3), ("exit 0", 0), ("exit 255", 255), ("3", None), ("exit", None), ("exit -1", None)]
    + [(word, None) for word in ("exit 1000", "exit 3 4", "exit x", " exit 3", "missing", "", None)],
)
def test_only_a_word_about_the_exit_is_one(word, code):
    assert _exit_code(word) == code


# --- a daemon, played

CREATED = (201, '{"Id":"e1"}')
COMMAND = Command(["true"], "0:0", "/", [])


@contextmanager
def played(path, *answers):
    """A daemon that gives these answers, one a connection, and what it was asked."""
    asked, listener = [], socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve():
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(65536).decode()
                asked.append(" ".join(request.split(" ")[:2]))
                if isinstance(answer, tuple):
                    status, body = answer
                    connection.sendall(f"HTTP/1.0 {status} Whatever\r\nX: y\r\n\r\n{body}".encode())
                else:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        listener.close()
        thread.join(0 if len(asked) < len(answers) else 5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d.sock"


@pytest.fixture
def wakeup():
    """What can be read from when the end is asked for, and where to say so."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def asker(path, wakeup):
    """What a shim asks its daemon by."""
    return Daemon(str(path), "c1", wakeup[0])


@pytest.fixture
def watched(asker, wakeup, hears):
    """A watch over a command that shows up by the other ends of its pipes."""
    ends = [os.pipe() for _ in range(3)]
    (_, control), (reply, _), (report, _) = ends
    yield watch.Watch(asker, COMMAND, Pipes(control, reply, report), hears, wakeup[0]), ends
    for descriptor in [end for pair in ends for end in pair]:
        with suppress(OSError):  # a test has closed it
            os.close(descriptor)


def test_a_command_is_created_and_started(path, watched):
    with played(path, CREATED, (200, "")) as asked:
        starting = begin(str(path), "c1", COMMAND)
        assert watched[0]._started(starting) == "e1"
    assert asked == ["POST /containers/c1/exec", "POST /exec/e1/start"]


@pytest.mark.parametrize(
    "answer",
    [(409, "{}"), (404, "{}"), (500, ""), b"", b"junk", b"HTTP/1.0 201 Created\r\n\r\n{}", (201, '{"Id":"')],
    ids=str,
)
def test_what_does_not_begin_at_once_is_left_to_the_careful_way(path, answer):
    with played(path, answer):
        assert begin(str(path), "c1", COMMAND) is None


def test_a_daemon_that_is_not_there_is_left_to_the_careful_way(path):
    assert begin(str(path), "c1", COMMAND) is None


@pytest.mark.parametrize("answer", [b"", b"junk", b"HTTP/1.0 "], ids=str)
def test_a_daemon_that_hangs_up_while_it_starts_is_no_success_and_not_asked_again(path, watched, answer):
    with played(path, CREATED, answer) as asked:
        starting = begin(str(path), "c1", COMMAND)
        with pytest.raises(DaemonError, match="did not say whether it has started"):
            watched[0]._started(starting)
    assert len(asked) == 2


@contextmanager
def silent():
    """A command that a daemon is told to start, of which it says nothing."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Starting("e1", ours)


@pytest.mark.parametrize(("word", "number"), [(b"ready\n", 1), (b"exit 3\n", 2)])
def test_a_command_that_shows_up_runs_whatever_its_daemon_says(watched, word, number):
    watch_over, ends = watched
    os.write(ends[number][1], word)
    with silent() as starting:
        assert watch_over._started(starting) == "e1"


@pytest.mark.parametrize("number", [1, 2])
def test_a_command_that_has_left_has_run_whatever_its_daemon_says(watched, number):
    watch_over, ends = watched
    os.close(ends[number][1])
    with silent() as starting:
        assert watch_over._started(starting) == "e1"


def test_a_daemon_that_says_nothing_of_a_command_is_waited_for_so_long_and_not_asked_again(
    path, asker, watched
):
    asker.patience = 0.05
    silence = pytest.raises(DaemonError, match="did not say whether it has started: timed out")
    with played(path) as asked, silent() as starting, silence:
        watched[0]._started(starting)
    assert asked == []


def test_a_silent_daemon_is_waited_for_less_once_the_end_was_asked_for(watched, wakeup, monkeypatch):
    monkeypatch.setattr(watch, "HURRIED", 0.05)
    os.write(wakeup[1], bytes([signal.SIGTERM]))
    with silent() as starting, pytest.raises(DaemonError, match="timed out"):
        watched[0]._started(starting)
    assert os.read(watched[1][0][0], 64) == b"TERM\nCONT\n", "it is asked all the same"


def test_what_is_refused_in_the_quick_way_is_started_in_the_careful_one(path, watched):
    with played(path, CREATED, (409, "{}"), (201, '{"Id":"e2"}'), (200, "")):
        assert watched[0]._started(begin(str(path), "c1", COMMAND)) == "e2"


def test_what_is_refused_in_the_careful_way_is_not_started(path, watched):
    refused = (400, '{"message": "no such user"}')
    with played(path, CREATED, refused), pytest.raises(DaemonError, match="no such user") as caught:
        watched[0]._started(None)
    assert caught.value.status == 400


def test_the_careful_way_starts_a_container_that_was_stopped(path, watched):
    stopped = (409, '{"message": "Container c1 is not running"}')
    state = (200, '{"State": {"Running": false}}')
    with played(path, stopped, state, (204, ""), CREATED, (200, "")) as asked:
        assert watched[0]._started(None) == "e1"
    assert asked[2] == "POST /containers/c1/start"


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ((404, '{"message": "No such container: c1"}'), 404, "No such container: c1"),
        ((400, "no json"), 400, "no json"),
        ((400, '["message"]'), 400, '["message"]'),
        (b"", 0, "does not answer"),
        (b"junk", 0, "does not answer"),
        ((201, "{half"), 0, "answers with no JSON"),
    ],
    ids=str,
)
def test_the_careful_way_says_what_is_wrong(path, asker, answer, status, text):
    with played(path, answer), pytest.raises(DaemonError) as caught:
        asker.start_command(COMMAND)
    assert (caught.value.status, text in str(caught.value)) == (status, True)


def test_a_daemon_that_is_slow_is_waited_for_less_once_the_end_was_asked_for(
    path, asker, wakeup, monkeypatch
):
    monkeypatch.setattr("mahavishnu_container.shim.api.HURRIED", 0.05)
    os.write(wakeup[1], b"\x0f")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(DaemonError, match="does not answer: timed out"):
            asker.is_running()


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        ((200, '{"State": {"Running": true}}'), True),
        ((200, '{"State": {"Running": false}}'), False),
        ((200, '{"State": "junk"}'), False),
        ((404, "{}"), False),
    ],
    ids=str,
)
def test_whether_a_container_is_up(path, asker, answer, up):
    with played(path, answer):
        assert asker.is_running() is up


@pytest.mark.parametrize(
    ("answers", "deserted"),
    [
        ([(200, '{"Processes": [["1"], ["2"]]}')], True),
        ([(200, '{"Processes": [["1"], ["2"], ["3"]]}')], False),
        ([(200, '{"Processes": null}')], False),
        ([(200, '{"Processes": []}')], False),
        ([(500, "no such word"), (200, '{"Processes": [["1"], ["2"]]}')], True),
        ([(500, "no such word"), (500, "nor that")], False),
    ],
    ids=str,
)
def test_whether_anything_runs_in_a_container(path, asker, answers, deserted):
    with played(path, *answers):
        assert asker.is_deserted() is deserted


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, '{"Running": false, "ExitCode": 3}'), 3),
        ((200, '{"Running": true, "ExitCode": 0}'), None),
        ((200, '{"Running": false, "ExitCode": null}'), None),
        ((200, "[]"), None),
    ],
    ids=str,
)
def test_how_a_command_ended_is_known_or_not(path, asker, answer, code):
    with played(path, answer):
        assert asker.exit_code("e1") == code


RUNNING = (200, '{"State": {"Running": true}}')
BUSY = (200, '{"Processes": [["1"], ["2"], ["3"]]}')
RESTART, REMOVE = "POST /containers/c1/restart?t=0", "DELETE /containers/c1?force=1&v=1"


@pytest.mark.parametrize(
    ("answers", "last", "seen"),
    [
        ([(404, "{}")], "GET /containers/c1/json", {"reason": "container"}),
        ([RUNNING, BUSY, (204, "")], RESTART, {"warnings": ["container_restarted"]}),
        ([RUNNING, BUSY, (500, "{}"), (204, "")], REMOVE, {"warnings": ["container_removed"]}),
        ([RUNNING, BUSY, (500, "{}"), (500, "{}")], REMOVE, {"survivors": ["container c1"]}),
        ([RUNNING, BUSY, b""], RESTART, {"survivors": ["container c1"]}),
        ([b""], "GET /containers/c1/json", {"survivors": ["container c1"]}),
    ],
    ids=["gone", "started again", "removed", "not removed", "no answer", "no daemon"],
)
def test_what_does_not_obey_is_ended_by_the_daemon(path, watched, monkeypatch, answers, last, seen):
    monkeypatch.setattr(watch, "_LAG", 0.001)
    monkeypatch.setattr(watch, "_LOOK", 0.002)
    ended = Ended()
    with played(path, *answers) as asked:
        watched[0]._use_force(ended)
    assert asked[-1] == last
    assert {name: ended[name] for name in seen} == seen
    assert (ended["exit_code"], ended["reason"]) == (None, "container")


@pytest.mark.parametrize("status", [204, 404, 409])
def test_a_container_that_is_gone_is_removed(path, asker, status):
    with played(path, (status, "{}")) as asked:
        asker.remove()
    assert asked == ["DELETE /containers/c1?force=1&v=1"]
