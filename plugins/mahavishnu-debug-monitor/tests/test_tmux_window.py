"""A real tmux shows a log; each line of it is told once, and nothing is left of it afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from mahavishnu_core.testing.processes import left_by_test, wait_until_gone
from mahavishnu_debug_monitor.windows import tmux
from mahavishnu_debug_monitor.windows.tmux import find_tmux, open_tmux
from mahavishnu_debug_monitor.windows.window import WindowGone, WindowRefused

from .windows import told

TMUX = shutil.which("tmux")
NAME = "k3f9a2b1"
LABEL = f"mahavishnu-{NAME}"


@pytest.fixture(autouse=True)
def _installed():
    if TMUX is None:
        if os.environ.get("MAHAVISHNU_REQUIRE_WINDOWS"):
            pytest.fail("MAHAVISHNU_REQUIRE_WINDOWS is set, and tmux is not installed")
        pytest.skip("tmux is not installed")


@pytest.fixture
def home():
    """Where the sockets are: the path of one may have 107 bytes. No process of it may be left."""
    home = Path(tempfile.mkdtemp(dir="/tmp", prefix="mv-"))
    yield home
    left = wait_until_gone(partial(left_by_test, home), seconds=3)
    for process in left:
        os.kill(process.pid, signal.SIGKILL)
    shutil.rmtree(home)
    assert left == []


@pytest.fixture
def environ(home):
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "TMUX_TMPDIR": str(home)}


@pytest.fixture
def log(home):
    (home / "log").touch()
    return home / "log"


@pytest.fixture
def ask(environ):
    """Asks tmux as a person would, by default the window's server."""

    def ask(*words, label=LABEL):
        done = subprocess.run(
            [TMUX, "-L", label, *words], env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return ask


def follow(log):
    return ["tail", "-n", "+1", "-F", str(log)]


def append(log, *lines):
    with log.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


async def gone(window):
    with trio.fail_after(5):
        while True:
            try:
                await window.new_lines()
            except WindowGone as error:
                return str(error)
            await trio.sleep(0.005)


async def until(holds):
    with trio.fail_after(5):
        while not holds():  # noqa: ASYNC110  # neither tmux nor a file gives an event
            await trio.sleep(0.005)


def sockets(home):
    return [str(path) for path in home.glob("tmux-*/*")]


async def test_a_session_shows_what_the_command_prints(environ, log, ask):
    append(log, "one", "two")
    async with open_tmux(NAME, follow(log), environ) as window:
        assert await told(window, "two") == (["one", "two"], 0)
        assert ask("capture-pane", "-p").splitlines() == [LABEL, "one", "two"]
        assert len(ask("list-sessions").splitlines()) == 1
        assert ask("display-message", "-p", "#{pane_width} #{pane_height} #{status}") == "200 50 off"
        assert window.access == f"in tmux, attach with 'tmux -L {LABEL} attach'"
        append(log, "three")
        assert await told(window, "three") == (["three"], 0)
        assert (await window.new_lines()).lines == []


async def test_nothing_is_left_of_it_afterwards(environ, log, home, ask):
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, "one")
        await told(window, "one")
        assert {process.name for process in left_by_test(home)} == {"tmux: server", "tail"}
        assert sockets(home) != []
    assert sockets(home) == []
    assert wait_until_gone(partial(left_by_test, home), seconds=3) == []


async def test_lines_that_come_quickly_are_told_once_each(environ, log):
    lines = [f"{number:05}{'x' * (number % 300)}" for number in range(2000)]
    async with open_tmux(NAME, follow(log), environ) as window, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write():
            for at in range(0, 2000, 25):
                append(log, *lines[at : at + 25])
                await trio.lowlevel.checkpoint()

        assert await told(window, lines[-1]) == (lines, 0)


async def test_a_whole_log_at_once_is_told(environ, log):
    lines = [f"{number:05}{'x' * (number % 300)}" for number in range(20_000)]
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, *lines[:10])
        await told(window, lines[9])
        append(log, *lines[10:])
        assert await told(window, lines[-1]) == (lines[10:], 0)


LINES = [
    "y" * 450,
    "y" * 200,
    "y" * 400,
    "",
    "",
    "漢字" * 150,
    f"y{'漢字' * 150}",
    "e\u0301" * 250,
    "😀 ok",
    "   indented",
    "",
    "x" * 199 + "漢",
    "#{pane_id} #(id) %s ; \\n 'quoted' \"twice\" $HOME",
]


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}])
async def test_lines_are_told_as_they_were_printed(environ, log, locale):
    async with open_tmux(NAME, follow(log), environ | locale) as window:
        append(log, *LINES, "end")
        assert await told(window, "end") == ([*LINES, "end"], 0)


async def test_blanks_at_the_end_are_not_told(environ, log):
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, "one   ", "y" * 198 + " " * 50, " " * 250, "end")
        assert await told(window, "end") == (["one", "y" * 198, "", "end"], 0)


async def test_a_line_is_told_when_it_is_whole(environ, log, ask):
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, "one")
        await told(window, "one")
        with log.open("a") as file:
            file.write("y" * 450)
            file.flush()
            await until(lambda: ask("display-message", "-p", "#{cursor_y}") == "4")
            assert (await window.new_lines()).lines == []
            file.write(" whole\n")
        assert await told(window, "y" * 450 + " whole") == (["y" * 450 + " whole"], 0)


async def test_lines_that_are_equal_are_told_each(environ, log):
    lines = ["same", "", "y" * 450, "漢字" * 150] * 50
    async with open_tmux(NAME, follow(log), environ) as window:
        for at in range(0, len(lines), 4):
            append(log, *lines[at : at + 4], f"{at}")
            assert await told(window, f"{at}") == ([*lines[at : at + 4], f"{at}"], 0)


async def test_a_smaller_client_tells_nothing_twice(environ, log, ask):
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, *LINES, "before")
        await told(window, "before")
        async with attached(environ, columns=61, rows=17):
            await until(lambda: ask("display-message", "-p", "#{pane_width}") == "61")
            assert (await window.new_lines()).lines == []
            append(log, *LINES, "while")
            assert await told(window, "while") == ([*LINES, "while"], 0)
        append(log, *LINES, "after")
        assert await told(window, "after") == ([*LINES, "after"], 0)


@asynccontextmanager
async def attached(environ, columns, rows):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    async with trio.open_nursery() as nursery:
        words = [TMUX, "-L", LABEL, "attach"]
        client = await nursery.start(
            partial(
                trio.run_process, words, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, check=False
            )
        )
        os.close(theirs)
        yield
        client.kill()
        await client.wait()
    os.close(ours)


async def test_one_that_is_resized_all_the_time_tells_each_line_once(environ, log, ask):
    found, lines = [], []
    async with open_tmux(NAME, follow(log), environ) as window:
        for number, width in enumerate([30, 200, 77, 11, 500, 120, 40, 200]):
            batch = [f"{number} {line}".rstrip() for line in [*LINES, *LINES]] + [f"end {number}"]
            lines += batch
            append(log, *batch)
            ask("resize-window", "-x", str(width), "-y", str(10 + number))
            found += (await told(window, batch[-1]))[0]
            ask("resize-window", "-x", str(width // 2))
    assert found == lines


@pytest.mark.thorough
async def test_a_history_that_is_full_tells_nothing_twice(environ, log):
    async with open_tmux(NAME, follow(log), environ, history=200) as window:
        for number in range(60):
            lines = [f"{number}.{line}{'y' * 7 * line}" for line in range(40)]
            append(log, *lines)
            assert await told(window, lines[-1]) == (lines, 0)


@pytest.mark.parametrize("is_first", [True, False])
async def test_lines_that_are_gone_are_said_to_be_missing(environ, log, ask, is_first):
    lines = [f"{number:04}" for number in range(1000)]
    async with open_tmux(NAME, follow(log), environ, history=100) as window:
        if not is_first:
            append(log, "one")
            await told(window, "one")
        append(log, *lines)
        await until(lambda: lines[-1] in ask("capture-pane", "-p"))
        found, missing = await told(window, lines[-1])
    assert missing == 1
    assert 100 < len(found) < 150
    assert found == lines[-len(found) :]


@pytest.mark.parametrize("words", [["kill-session"], ["kill-server"], ["kill-pane"]])
async def test_a_window_that_the_user_closes_is_told_as_gone(environ, log, ask, home, words):
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, "one")
        await told(window, "one")
        ask(*words)
        assert await gone(window) == "its window was closed"
        assert await gone(window) == "its window was closed"
    assert sockets(home) == []


async def test_it_goes_on_without_the_window_where_a_user_made_another_one(environ, log, ask, home):
    async with open_tmux(NAME, follow(log), environ) as window:
        ask("new-session", "-d", "sleep 600")
        ask("kill-pane", "-t", "%0")
        assert await gone(window) == "its window was closed"
    assert sockets(home) == []


async def test_a_command_that_ends_closes_its_window(environ):
    async with open_tmux(NAME, ["true"], environ) as window:
        assert await gone(window) == "its window was closed"


async def test_what_is_typed_there_is_not_shown(environ, log, ask):
    async with open_tmux(NAME, follow(log), environ) as window:
        ask("send-keys", "typed", "Enter", "Enter")
        append(log, "one")
        assert await told(window, "one") == (["one"], 0)
        ask("send-keys", "C-c")
        append(log, "two")
        assert await told(window, "two") == (["two"], 0)


async def test_lines_that_switch_to_another_screen_are_told(environ, log):
    lines = [f"{number}" for number in range(100)]
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, "\x1b[?1049h" + lines[0], *lines[1:])
        assert await told(window, lines[-1]) == (lines, 0)


async def test_lines_are_told_while_somebody_reads_back(environ, log, ask):
    lines = [f"{number}" for number in range(200)]
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, *lines[:100])
        await told(window, lines[99])
        ask("copy-mode")
        ask("send-keys", "-X", "history-top")
        append(log, *lines[100:])
        assert await told(window, lines[-1]) == (lines[100:], 0)


async def test_the_tmux_of_the_user_is_left_alone(environ, log, ask):
    ask("-f", "/dev/null", "new-session", "-d", "-s", "mine", "sleep 600", label="mine")
    try:
        socket = ask("display-message", "-p", "#{socket_path},#{pid},0", label="mine")
        before = [ask(words, label="mine") for words in ("list-panes", "list-sessions", "show-options")]
        inside = environ | {"TMUX": socket, "TMUX_PANE": "%0"}
        async with open_tmux(NAME, follow(log), inside) as window:
            append(log, "one")
            assert await told(window, "one") == (["one"], 0)
            assert before == [
                ask(words, label="mine") for words in ("list-panes", "list-sessions", "show-options")
            ]
        assert ask("list-sessions", "-F", "#{session_name}", label="mine") == "mine"
    finally:
        ask("kill-server", label="mine")


async def test_settings_of_the_user_do_not_reach_it(environ, log, ask, home):
    (home / ".tmux.conf").write_text("set -g @of-the-user yes\n")
    async with open_tmux(NAME, follow(log), environ):
        assert "@of-the-user" not in ask("show-options", "-g")


async def test_the_server_is_given_no_secrets_and_the_marks_of_its_task(environ, log, ask):
    given = {
        "MAHAVISHNU_TASK": "k3f9a2b1.1",
        "MAHAVISHNU_DEPTH": "1",
        "MAHAVISHNU_API_KEY": "short",
        "ANTHROPIC_API_KEY": "sk-1",
        "TMUX_PANE": "%7",
        "LC_ALL": "C.UTF-8",
    }
    async with open_tmux(NAME, follow(log), environ | given):
        names = {line.partition("=")[0] for line in ask("show-environment", "-g").splitlines()}
    assert names - {"PWD"} == {*environ, "MAHAVISHNU_TASK", "MAHAVISHNU_DEPTH", "LC_ALL"}


async def test_words_of_a_command_reach_it_as_they_are(environ, home):
    words = ["a b", "$HOME", "it's", "#{pane_id}", "%H", ";", "", "x;"]
    async with open_tmux(
        NAME, ["sh", "-c", 'printf "<%s>\\n" "$@"; sleep 600', "sh", *words], environ
    ) as window:
        assert await told(window, "<x;>") == ([f"<{word}>" for word in words], 0)


async def test_a_server_that_was_left_behind_is_replaced(environ, log, ask, home):
    ask("-f", "/dev/null", "new-session", "-d", "-s", "left", "sleep 600")
    append(log, "one")
    async with open_tmux(NAME, follow(log), environ) as window:
        assert await told(window, "one") == (["one"], 0)
        assert "left" not in ask("list-sessions")


async def test_without_tmux_it_is_refused(environ, home):
    nowhere = environ | {"PATH": str(home)}
    assert find_tmux(nowhere) is None
    assert find_tmux(environ) == TMUX
    with pytest.raises(WindowRefused, match=r"^there is no program 'tmux' on the PATH$"):
        async with open_tmux(NAME, ["true"], nowhere):
            pass


async def test_it_is_refused_with_the_words_of_tmux(environ, home):
    deep = home / ("d" * 100)
    deep.mkdir()
    with pytest.raises(WindowRefused, match="File name too long"):
        async with open_tmux(NAME, ["true"], environ | {"TMUX_TMPDIR": str(deep)}):
            pass


async def test_it_is_refused_where_there_is_no_place_for_its_socket(environ, log):
    with pytest.raises(WindowRefused, match="Not a directory"):
        async with open_tmux(NAME, ["true"], environ | {"TMUX_TMPDIR": str(log)}):
            pass


async def test_a_tmux_that_cannot_be_run_is_refused(environ, home):
    (home / "tmux").write_text("#!/nowhere/sh\n")
    (home / "tmux").chmod(0o755)
    with pytest.raises(WindowRefused, match=r"tmux' cannot be run: No such file or directory$"):
        async with open_tmux(NAME, ["true"], environ | {"PATH": str(home)}):
            pass


async def test_a_tmux_that_hangs_is_told_as_gone_and_ended(environ, log, ask, home, monkeypatch):
    monkeypatch.setattr(tmux, "_PATIENCE", 0.2)
    monkeypatch.setattr(tmux, "_CLOSING", 0.2)
    async with open_tmux(NAME, follow(log), environ) as window:
        os.kill(int(ask("display-message", "-p", "#{pid}")), signal.SIGSTOP)
        assert await gone(window) == "tmux does not answer"
    assert wait_until_gone(partial(left_by_test, home), seconds=3) == []
    assert sockets(home) == []


async def test_a_tmux_that_hangs_at_once_is_refused(environ, home, monkeypatch):
    monkeypatch.setattr(tmux, "_PATIENCE", 0.1)
    monkeypatch.setattr(tmux, "_CLOSING", 0.1)
    (home / "tmux").write_text("#!/bin/sh\ntrap '' TERM\nexec /bin/sleep 600\n")
    (home / "tmux").chmod(0o755)
    with trio.fail_after(5), pytest.raises(WindowRefused, match=r"^tmux does not answer$"):
        async with open_tmux(NAME, ["true"], environ | {"PATH": str(home)}):
            pass


async def test_one_that_is_cancelled_while_it_opens_leaves_nothing(environ, log, home):
    """The client is held in the moment after it has started the server."""
    (home / "bin").mkdir()
    (home / "bin" / "tmux").write_text(
        f'#!/bin/sh\n"{TMUX}" "$@"\ncase "$*" in *new-session*) : >{home}/up; /bin/sleep 0.2;; esac\n'
    )
    (home / "bin" / "tmux").chmod(0o755)
    held = environ | {"PATH": f"{home}/bin:{environ['PATH']}"}
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def open_it():
            async with open_tmux(NAME, follow(log), held):
                await trio.sleep_forever()

        await until((home / "up").exists)
        assert {process.name for process in left_by_test(home)} >= {"tmux: server"}
        nursery.cancel_scope.cancel()
    assert wait_until_gone(partial(left_by_test, home), seconds=3) == []
    assert sockets(home) == []


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.006, 0.01, 0.02])
async def test_one_that_is_cancelled_early_or_late_leaves_nothing(environ, log, home, delay):
    with trio.move_on_after(delay):
        async with open_tmux(NAME, follow(log), environ):
            await trio.sleep_forever()
    assert wait_until_gone(partial(left_by_test, home), seconds=3) == []
    assert sockets(home) == []


async def test_a_question_that_is_cancelled_loses_no_line(environ, log):
    lines = [f"{number}" for number in range(300)]
    found = []
    async with open_tmux(NAME, follow(log), environ) as window:
        append(log, *lines)
        for delay in range(10):
            with trio.move_on_after(delay / 1000):
                found += (await window.new_lines()).lines
        if found[-1:] != lines[-1:]:
            found += (await told(window, lines[-1]))[0]
    assert found == lines
