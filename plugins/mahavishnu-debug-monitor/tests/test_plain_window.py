"""Without a window the lines of the command are told all the same, and it is ended with all it started."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from mahavishnu_core.testing.processes import lives
from mahavishnu_debug_monitor.windows import plain
from mahavishnu_debug_monitor.windows.plain import open_plain
from mahavishnu_debug_monitor.windows.window import WindowGone, WindowRefused

from .windows import told

ENDED = "the command that follows the log has ended"
ENVIRON = {"PATH": os.environ["PATH"], "MAHAVISHNU_TASK": "k3f9a2b1.1"}


def shell(script):
    return ["sh", "-c", script]


async def first_line(window):
    with trio.fail_after(5):
        while not (news := await window.new_lines()).lines:  # noqa: ASYNC110  # it is asked, it does not tell
            await trio.sleep(0.005)
    return news.lines[0]


async def told_to_its_end(window):
    lines = []
    with trio.fail_after(5):
        while True:
            try:
                lines += (await window.new_lines()).lines
            except WindowGone as error:
                return lines, str(error)
            await trio.sleep(0.005)


async def ended(pid):
    with trio.fail_after(5):
        while lives(pid):  # noqa: ASYNC110  # nobody tells that it has ended: it is not our child
            await trio.sleep(0.005)


@pytest.fixture
def log(tmp_path, nothing_left):
    (tmp_path / "log").touch()
    return tmp_path / "log"


def append(log, text):
    with log.open("ab") as file:
        file.write(text)


async def test_lines_are_told_as_they_come(log):
    async with open_plain(["tail", "-n", "+1", "-F", str(log)], ENVIRON) as window:
        append(log, b"one\n\ntwo  \n\xff three\n")
        assert await told(window, "\ufffd three") == (["one", "", "two", "\ufffd three"], 0)
        append(log, b"four\n")
        assert await told(window, "four") == (["four"], 0)
        assert list((await window.new_lines()).lines) == []
        assert window.access == f"in no window, follow it with 'tail -n +1 -F {log}'"


async def test_quick_and_long_lines_are_told_once_each(log):
    lines = [f"{number:05}{'x' * (number % 3000)}" for number in range(2000)]
    async with open_plain(["tail", "-n", "+1", "-F", str(log)], ENVIRON) as window:
        append(log, "".join(f"{line}\n" for line in lines).encode())
        assert await told(window, lines[-1]) == (lines, 0)


async def test_a_line_is_told_when_it_is_whole(log):
    async with open_plain(["tail", "-n", "+1", "-F", str(log)], ENVIRON) as window:
        append(log, "one\nzwö".encode()[:-1])
        assert await told(window, "one") == (["one"], 0)
        append(log, "zwölf\n".encode()[3:])
        assert await told(window, "zwölf") == (["zwölf"], 0)


async def test_while_nobody_takes_its_lines_the_command_waits_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(plain, "_MOST_LINES", 100)
    async with open_plain(shell("seq 200000; read _"), ENVIRON) as window:
        with trio.fail_after(10):
            while len(window._lines) < 100:  # noqa: ASYNC110  # a command gives no event
                await trio.sleep(0.005)
        await trio.sleep(0.05)
        assert len(window._lines) < 20_000, "no more than what was on its way"
        assert await told_to_its_end(window) == ([str(number) for number in range(1, 200_001)], ENDED)


async def test_a_line_without_end_is_told_in_pieces(monkeypatch):
    monkeypatch.setattr(plain, "_LONGEST", 100_000)
    async with open_plain(
        shell("head -c 1000000 /dev/zero | tr '\\0' x; echo; sleep 600"), ENVIRON
    ) as window:
        lines = []
        with trio.fail_after(5):
            while sum(map(len, lines)) < 900_000:
                lines += (await window.new_lines()).lines
                await trio.sleep(0.005)
    assert max(map(len, lines)) < 200_000


async def test_a_command_that_ends_is_told_as_gone_after_its_last_line():
    async with open_plain(shell("echo one; echo here >&2; printf two"), ENVIRON) as window:
        assert await told_to_its_end(window) == (["one", "here", "two"], ENDED)
        assert await told_to_its_end(window) == ([], ENDED)


@pytest.fixture
def something_to_read():
    reader, writer = os.pipe()
    os.write(writer, b"not for the command\n")
    os.close(writer)
    kept = os.dup(0)
    os.dup2(reader, 0)
    yield
    os.dup2(kept, 0)
    os.close(kept)
    os.close(reader)


@pytest.mark.usefixtures("something_to_read")
async def test_the_command_reads_nothing_and_has_its_environment():
    async with open_plain(shell("cat; echo $MAHAVISHNU_TASK; env | grep -c HOME"), ENVIRON) as window:
        assert await told_to_its_end(window) == (["k3f9a2b1.1", "0"], ENDED)


async def test_a_command_that_is_not_there_is_refused():
    with pytest.raises(WindowRefused, match=r"^'no-such-tail' cannot be run: No such file or directory$"):
        async with open_plain(["no-such-tail"], ENVIRON):
            pass


@pytest.mark.parametrize(
    "script", ["sleep 600 & echo $! $$; wait", "trap '' TERM; sleep 600 & echo $! $$; wait"]
)
async def test_it_is_ended_with_all_that_it_started(monkeypatch, script):
    monkeypatch.setattr(plain, "_GRACE", 0.3)
    with trio.fail_after(3):
        async with open_plain(shell(script), ENVIRON) as window:
            line = await first_line(window)
            pids = [int(word) for word in line.split()]
            assert all(map(lives, pids))
            assert os.getpgid(pids[0]) == pids[1] != os.getpgid(0)
    for pid in pids:
        await ended(pid)


async def test_one_that_does_not_hear_is_ended_by_force_in_its_time(monkeypatch):
    monkeypatch.setattr(plain, "_GRACE", 0.2)
    with trio.fail_after(3):
        async with open_plain(shell("trap '' TERM; echo $$; while :; do sleep 600; done"), ENVIRON) as window:
            line = await first_line(window)
    assert not lives(int(line))


async def test_one_that_is_told_to_end_has_the_time_to(tmp_path):
    script = f"trap 'kill $!; echo done > {tmp_path}/end; exit' TERM; echo ready; sleep 600 & wait"
    async with open_plain(shell(script), ENVIRON) as window:
        await told(window, "ready")
    assert (tmp_path / "end").read_text() == "done\n"


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.01])
async def test_one_that_is_cancelled_leaves_nothing(log, delay):
    """What looks is ``nothing_left``."""
    with trio.move_on_after(delay):
        async with open_plain(["tail", "-F", str(log)], ENVIRON):
            await trio.sleep_forever()


async def test_a_command_that_was_killed_is_left_without_a_word():
    async with open_plain(shell("echo $$; sleep 600"), ENVIRON) as window:
        line = await first_line(window)
        os.killpg(int(line), signal.SIGKILL)
        assert await told_to_its_end(window) == ([], ENDED)
