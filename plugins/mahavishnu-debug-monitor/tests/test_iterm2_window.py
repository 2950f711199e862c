"""A window of iTerm2 runs a command, tells each line of it once, and is closed in the end."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mahavishnu_debug_monitor.windows import iterm2_connection, iterm2_cookie
from mahavishnu_debug_monitor.windows.iterm2 import is_there, open_iterm2
from mahavishnu_debug_monitor.windows.window import WindowGone, WindowRefused

from .scripted_iterm2 import listening, scripted_iterm2, short_home, until

DEADLINE = 10
FOREVER = ("sleep", "1000")
POLL = 0.01


@pytest.fixture
def impatient(monkeypatch):
    """Nothing is waited for as long as in earnest."""
    for module in (iterm2_connection, iterm2_cookie):
        monkeypatch.setattr(module, "PATIENCE", 0.3)


@pytest.fixture
def osascript(monkeypatch, tmp_path):
    """Sets what AppleScript does, which keeps what it was asked in ``asked``."""

    def script(body: str) -> Path:
        program = tmp_path / "osascript"
        program.write_text(f'#!/bin/sh\ncat >"{tmp_path}/asked"\n{body}\n')
        program.chmod(0o700)
        monkeypatch.setattr(iterm2_cookie, "OSASCRIPT", str(program))
        return tmp_path / "asked"

    monkeypatch.setattr(iterm2_cookie, "OSASCRIPT", str(tmp_path / "there-is-none"))
    return script


async def lines_until(window, count, missing=0):
    """What the window tells until it is so many lines, each of them once."""
    lines, lost = [], 0
    with trio.fail_after(DEADLINE):
        while len(lines) < count or lost < missing:
            new = await window.new_lines()
            lines += new.lines
            lost += new.missing
            await trio.sleep(POLL)
    assert (len(lines), lost) == (count, missing)
    return lines


def shell(script):
    return ("sh", "-c", script)


async def test_a_command_runs_in_a_window_of_its_own_and_its_lines_are_told_once():
    async with scripted_iterm2() as iterm2:
        command = shell("echo one; echo 'two  words'; echo; echo three; exec sleep 1000")
        async with open_iterm2("", command, iterm2.environ) as window:
            assert window.access == "in iTerm2, in a window of its own"
            assert await lines_until(window, 4) == ["one", "two  words", "", "three"]
            assert not (await window.new_lines()).lines
            assert iterm2.only.process.args == list(command)


async def test_a_profile_is_used_and_said():
    async with scripted_iterm2() as iterm2:
        iterm2.profiles.add("Night's")
        async with open_iterm2("Night's", FOREVER, iterm2.environ) as window:
            assert iterm2.only.profile == "Night's"
            assert "Night's" in window.access


async def test_a_profile_that_is_not_there_is_named_with_where_to_change_it():
    async with scripted_iterm2() as iterm2:
        with pytest.raises(WindowRefused, match=r"no profile 'Nigth': .* options of the worker type"):
            async with open_iterm2("Nigth", FOREVER, iterm2.environ):
                pass
        assert not iterm2.sessions


async def test_wrapped_lines_are_put_together_and_those_that_fit_exactly_are_not():
    lines = ["x" * 25, "y" * 10, "z" * 20, "a    b    c d e f  ", "short"]
    async with scripted_iterm2(width=10) as iterm2:
        command = ("printf", "%s\n", *lines)
        async with open_iterm2("", command, iterm2.environ) as window:
            assert await lines_until(window, 5) == [line.rstrip() for line in lines]


@pytest.mark.parametrize("padding", ["\0", " "])
async def test_what_fills_a_row_at_its_right_is_no_part_of_the_line(padding):
    async with (
        scripted_iterm2(width=10, padding=padding) as iterm2,
        open_iterm2("", ("printf", "ab\ncdefghijklmn\n"), iterm2.environ) as window,
    ):
        assert await lines_until(window, 2) == ["ab", "cdefghijklmn"]


async def test_a_line_is_told_when_it_is_whole():
    async with scripted_iterm2(width=10) as iterm2:
        command = shell("echo first; printf 'half, longer than a row'; read go; echo ' and whole'")
        async with open_iterm2("", command, iterm2.environ) as window:
            assert await lines_until(window, 1) == ["first"]
            await until(lambda: len(iterm2.only.screen.rows) == 4)
            assert not (await window.new_lines()).lines
            iterm2.only.type("\n")
            assert await lines_until(window, 1) == ["half, longer than a row and whole"]


async def test_lines_that_leave_the_screen_are_read_from_the_scrollback_in_several_requests():
    async with (
        scripted_iterm2(scrollback=100_000) as iterm2,
        open_iterm2("", ("seq", "2500"), iterm2.environ) as window,
    ):
        await until(lambda: len(iterm2.only.screen.rows) == 2501)
        new = await window.new_lines()
        assert new.lines == [str(number) for number in range(1, 2501)]
        spans = [
            request.get_buffer_request.line_range.windowed_coord_range.coord_range
            for request in iterm2.asked("get_buffer_request")
        ]
        assert max(span.end.y - span.start.y for span in spans) == 1000


async def test_each_request_asks_for_what_is_new_alone():
    async with scripted_iterm2() as iterm2:
        command = shell("seq 50; read go; echo new; exec sleep 1000")
        async with open_iterm2("", command, iterm2.environ) as window:
            await lines_until(window, 50)
            iterm2.requests.clear()
            iterm2.only.type("\n")
            assert await lines_until(window, 1) == ["new"]
            spans = [
                request.get_buffer_request.line_range.windowed_coord_range.coord_range
                for request in iterm2.asked("get_buffer_request")
            ]
            assert {span.start.y for span in spans} == {50}


async def test_lines_that_have_left_the_scrollback_are_counted_as_missing():
    async with scripted_iterm2(height=5, scrollback=10) as iterm2:
        command = shell("seq 3; read go; seq 4 103; read go; echo 104; exec sleep 1000")
        async with open_iterm2("", command, iterm2.environ) as window:
            assert await lines_until(window, 3) == ["1", "2", "3"]
            iterm2.only.type("\n")
            await until(lambda: iterm2.only.screen.overflow == 104 - 15)
            new = await window.new_lines()
            assert new.lines == [str(number) for number in range(104 - len(new.lines), 104)]
            assert len(new.lines) == 13  # the first row may have been the end of a longer line
            assert new.missing + len(new.lines) == 100
            iterm2.only.type("\n")
            assert await lines_until(window, 1) == ["104"]


async def test_the_end_of_a_line_whose_beginning_is_lost_is_not_told_as_a_line():
    async with scripted_iterm2(width=10, height=2, scrollback=3) as iterm2:
        lines = [letter * 25 for letter in "abcdef"]
        async with open_iterm2("", ("printf", "%s\n", *lines), iterm2.environ) as window:
            await until(lambda: iterm2.only.screen.overflow == 14)
            new = await window.new_lines()
            assert new.lines == [lines[-1]]
            assert new.missing == 5


async def test_a_window_whose_width_changes_tells_no_line_twice_and_none_less():
    async with scripted_iterm2(width=10) as iterm2:
        command = shell("for n in 1 2 3 4 5; do seq -s ' ' $n 12; read go; done; exec sleep 1000")
        wanted = [" ".join(map(str, range(first, 13))) for first in range(1, 6)]
        async with open_iterm2("", command, iterm2.environ) as window:
            told = await lines_until(window, 1)
            for width in (7, 100, 25, 4):
                iterm2.only.type("\n")
                await until(lambda: iterm2.only.screen.rows[-1] == ("", False))
                iterm2.only.screen.resize(width)
                told += await lines_until(window, 1)
            assert told == wanted


async def test_after_a_change_of_width_what_was_lost_meanwhile_is_counted():
    async with scripted_iterm2(width=30, height=3, scrollback=10) as iterm2:
        command = shell("seq 3; read go; seq 4 60; exec sleep 1000")
        async with open_iterm2("", command, iterm2.environ) as window:
            await lines_until(window, 3)
            iterm2.only.type("\n")
            await until(lambda: iterm2.only.screen.overflow == 61 - 13)
            iterm2.only.screen.resize(20)
            new = await window.new_lines()
            assert new.lines == [str(number) for number in range(50, 61)]
            assert new.missing > 0


async def test_a_change_of_width_loses_nothing_where_all_that_has_left_the_scrollback_was_told():
    async with scripted_iterm2(scrollback=100) as iterm2:
        command = shell("seq 80; read go; seq 81 160; read go; echo new; exec sleep 1000")
        async with open_iterm2("", command, iterm2.environ) as window:
            await lines_until(window, 80)
            iterm2.only.type("\n")
            await lines_until(window, 80)
            assert iterm2.only.screen.overflow
            iterm2.only.screen.resize(20)
            iterm2.only.type("\n")
            assert await lines_until(window, 1) == ["new"]


async def test_what_was_lost_is_counted_when_it_is_known_where_the_next_line_begins():
    async with scripted_iterm2(width=10, height=2, scrollback=3) as iterm2:
        printed = "echo first; read go; seq 50; printf %060d 0; read go; echo; echo next; exec sleep 1000"
        async with open_iterm2("", shell(printed), iterm2.environ) as window:
            assert await lines_until(window, 1) == ["first"]
            iterm2.only.type("\n")
            await until(lambda: iterm2.only.screen.overflow == 51 + 6 - 5)
            new = await window.new_lines()
            assert (new.lines, new.missing) == ([], 0)
            iterm2.only.type("\n")
            await until(lambda: iterm2.only.screen.overflow == 51 + 8 - 5)
            new = await window.new_lines()
            assert new.lines == ["next"]
            assert 5 < new.missing <= 51


@pytest.mark.parametrize("count", [3, 50])
async def test_a_window_that_is_cleared_goes_on_with_what_comes_then(count):
    async with scripted_iterm2() as iterm2:
        command = shell(f"seq {count}; read go; echo new; exec sleep 1000")
        async with open_iterm2("", command, iterm2.environ) as window:
            await lines_until(window, count)
            iterm2.only.screen.clear()
            iterm2.only.type("\n")
            assert await lines_until(window, 1) == ["new"]


async def test_a_cancelled_call_loses_no_line():
    async with (
        scripted_iterm2(scrollback=100_000) as iterm2,
        open_iterm2("", ("seq", "3000"), iterm2.environ) as window,
    ):
        await until(lambda: len(iterm2.only.screen.rows) == 3001)
        cancelled, told = 0, []
        with trio.fail_after(DEADLINE):
            for checkpoints in itertools.count():
                with trio.CancelScope() as scope:
                    iterm2.before_answer = partial(cancel_after, scope, itertools.count(), checkpoints)
                    told += (await window.new_lines()).lines
                cancelled += scope.cancelled_caught
                if not scope.cancelled_caught:
                    break
        assert cancelled >= 4
        assert told == [str(number) for number in range(1, 3001)]


def cancel_after(scope, counter, most):
    if next(counter) == most:
        scope.cancel()


async def test_a_window_that_is_left_is_closed_and_its_process_is_ended():
    async with scripted_iterm2() as iterm2:
        async with open_iterm2("", FOREVER, iterm2.environ):
            process = iterm2.only.process
        assert not iterm2.open_sessions
        with trio.fail_after(DEADLINE):
            await process.wait()


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is_and_the_window_is_closed():
    async with scripted_iterm2() as iterm2:
        error = KeyError("mine")
        with pytest.raises(KeyError) as raised:
            async with open_iterm2("", FOREVER, iterm2.environ):
                raise error from ValueError("its cause")
        assert raised.value is error
        assert isinstance(error.__cause__, ValueError)
        assert not iterm2.open_sessions
        group = ExceptionGroup("mine", [KeyError(1), ValueError(2)])
        with pytest.raises(ExceptionGroup) as raised:
            async with open_iterm2("", FOREVER, iterm2.environ | allowed(iterm2)):
                raise group
        assert raised.value.exceptions == group.exceptions
        assert not iterm2.open_sessions


def allowed(iterm2):
    """A cookie that was not used yet."""
    iterm2.cookies.add("another")
    return {"ITERM2_COOKIE": "another"}


async def test_a_cancelled_block_closes_its_window():
    async with scripted_iterm2() as iterm2:
        with trio.move_on_after(DEADLINE) as scope:
            async with open_iterm2("", FOREVER, iterm2.environ) as window:
                scope.cancel()
                await window.new_lines()
        assert scope.cancelled_caught
        assert len(iterm2.sessions) == 1
        assert not iterm2.open_sessions


async def test_an_opening_that_is_cancelled_leaves_no_window_behind():
    async with scripted_iterm2() as iterm2, trio.open_nursery() as nursery:
        iterm2.waits = trio.Event()

        async def open_one():
            async with open_iterm2("", FOREVER, iterm2.environ):
                raise AssertionError("it was opened")

        nursery.start_soon(open_one)
        await until(lambda: iterm2.sessions)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            assert iterm2.open_sessions
            iterm2.waits.set()
            await until(lambda: not iterm2.open_sessions)


async def test_an_opening_may_be_cancelled_at_any_moment():
    async with scripted_iterm2() as iterm2:
        iterm2.is_open_to_all = True
        cancelled, is_opened = 0, False
        while not is_opened:
            with trio.fail_after(DEADLINE), trio.CancelScope() as scope, cancelling(scope, cancelled + 1):
                async with open_iterm2("", FOREVER, iterm2.environ):
                    is_opened = True
            cancelled += not is_opened
            assert not iterm2.open_sessions
        assert cancelled > len(iterm2.sessions) > 10  # some were cancelled before a window was asked for


@contextmanager
def cancelling(scope, steps):
    """Cancels a scope after so many steps that any task makes."""
    steps_of = Steps(scope, steps)
    trio.lowlevel.add_instrument(steps_of)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(steps_of)


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    scope: trio.CancelScope
    left: int

    def after_task_step(self, task):
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


async def test_an_application_that_never_answers_does_not_hold_up_a_cancelled_opening(monkeypatch):
    monkeypatch.setattr(iterm2_connection, "CLOSING", 0.2)
    async with scripted_iterm2() as iterm2:
        iterm2.ignores.add("create_tab_request")
        began = trio.current_time()
        with trio.move_on_after(0.1) as scope:
            async with open_iterm2("", FOREVER, iterm2.environ):
                raise AssertionError("it was opened")
        assert scope.cancelled_caught
        assert trio.current_time() - began < 2


async def test_a_window_that_a_person_closes_is_gone_and_stays_so():
    async with scripted_iterm2() as iterm2, open_iterm2("", FOREVER, iterm2.environ) as window:
        await window.new_lines()
        await iterm2.close_by_hand(iterm2.only)
        for _ in range(3):
            with pytest.raises(WindowGone, match=r"^its window was closed$"):
                await window.new_lines()


async def test_a_window_whose_closing_may_be_taken_back_is_gone_all_the_same():
    async with scripted_iterm2() as iterm2, open_iterm2("", FOREVER, iterm2.environ) as window:
        await window.new_lines()
        await iterm2.close_by_hand(iterm2.only, is_final=False)
        await wait_all_tasks_blocked()
        with pytest.raises(WindowGone, match=r"^its window was closed$"):
            await window.new_lines()


async def test_the_end_of_another_window_is_none_of_ours():
    command = shell("echo here; exec sleep 1000")
    async with scripted_iterm2() as iterm2, open_iterm2("", command, iterm2.environ) as window:
        async with open_iterm2("", FOREVER, iterm2.environ | allowed(iterm2)):
            pass
        await wait_all_tasks_blocked()
        assert await lines_until(window, 1) == ["here"]


@pytest.mark.parametrize("what", ["get_property_request", "get_buffer_request"])
async def test_a_window_that_is_closed_while_it_is_read_is_gone(what):
    async with scripted_iterm2() as iterm2, open_iterm2("", FOREVER, iterm2.environ) as window:

        def vanish():
            if iterm2.asked(what):
                iterm2.only.end()
                iterm2.before_answer = None

        iterm2.before_answer = vanish
        with pytest.raises(WindowGone, match=r"^its window was closed$"):
            await window.new_lines()


async def test_a_window_is_closed_with_its_command():
    async with scripted_iterm2() as iterm2:
        iterm2.closes_ended = True
        command = shell("read go")
        async with open_iterm2("", command, iterm2.environ) as window:
            await window.new_lines()
            iterm2.only.type("\n")
            await until(lambda: not iterm2.open_sessions)
            with pytest.raises(WindowGone, match=r"^its window was closed$"):
                await window.new_lines()


async def test_an_application_that_quits_is_said_to_have_quit():
    async with scripted_iterm2() as iterm2, open_iterm2("", FOREVER, iterm2.environ) as window:
        await iterm2.quit()
        for _ in range(3):
            with pytest.raises(WindowGone, match=r"^iTerm2 has quit$"):
                await window.new_lines()


async def test_an_application_that_quits_while_it_is_asked_is_said_to_have_quit():
    async with scripted_iterm2() as iterm2, trio.open_nursery() as nursery:
        iterm2.ignores.add("get_buffer_request")
        async with open_iterm2("", FOREVER, iterm2.environ) as window:
            nursery.start_soon(quit_when_asked, iterm2)
            with pytest.raises(WindowGone, match=r"^iTerm2 has quit$"), trio.fail_after(DEADLINE / 2):
                await window.new_lines()


async def quit_when_asked(iterm2):
    await until(lambda: iterm2.asked("get_buffer_request"))
    await iterm2.quit()


async def test_an_application_that_does_not_answer_is_given_up_and_still_asked_to_close(impatient):
    async with scripted_iterm2() as iterm2:
        async with open_iterm2("", FOREVER, iterm2.environ) as window:
            iterm2.ignores.add("get_property_request")
            for _ in range(2):
                with pytest.raises(WindowGone, match=r"^iTerm2 does not answer$"):
                    await window.new_lines()
            assert len(iterm2.asked("get_property_request")) == 1
        assert not iterm2.open_sessions


@pytest.mark.parametrize("name", ["create_tab_request", "notification_request"])
async def test_an_application_that_opens_no_window_is_a_refusal(name, impatient):
    async with scripted_iterm2() as iterm2:
        iterm2.ignores.add(name)
        with pytest.raises(WindowRefused, match="no window was opened: iTerm2 does not answer"):
            async with open_iterm2("", FOREVER, iterm2.environ):
                pass


@pytest.mark.parametrize(
    ("fault", "said"),
    [("complains", "does not take a request: what is this"), ("garbles", "cannot be understood")],
)
async def test_an_application_that_speaks_otherwise_is_given_up(fault, said):
    async with scripted_iterm2() as iterm2, open_iterm2("", FOREVER, iterm2.environ) as window:
        getattr(iterm2, fault).add("get_property_request")
        with pytest.raises(WindowGone, match=f"^iTerm2 {said}"):
            await window.new_lines()


async def test_a_socket_at_which_nobody_answers_is_a_refusal(impatient):
    with short_home() as home:
        async with listening(home):
            with pytest.raises(WindowRefused, match=r"it has not let us in for 0\.3 s"):
                async with open_iterm2("", FOREVER, {"HOME": str(home), "ITERM2_COOKIE": "c"}):
                    pass


async def test_a_socket_that_was_left_behind_is_a_refusal():
    with short_home() as home:
        async with listening(home):
            pass
        environ = {"HOME": str(home), "ITERM2_COOKIE": "c"}
        assert is_there(environ)
        with pytest.raises(WindowRefused, match=r"cannot be reached at '.*/private/socket' .*start it"):
            async with open_iterm2("", FOREVER, environ):
                pass


async def test_who_hangs_up_at_once_refuses(impatient):
    with short_home() as home:
        async with listening(home) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, trio.aclose_forcefully, [listener]))
            with pytest.raises(WindowRefused, match="cannot be reached"):
                async with open_iterm2("", FOREVER, {"HOME": str(home), "ITERM2_COOKIE": "c"}):
                    pass
            nursery.cancel_scope.cancel()


def test_it_is_there_where_its_socket_is(tmp_path):
    environ = {"HOME": str(tmp_path)}
    assert not is_there(environ)
    for suite in ("iTerm2", "Other"):
        socket = tmp_path / "Library/Application Support" / suite / "private/socket"
        socket.parent.mkdir(parents=True)
        socket.touch()
    assert is_there(environ)
    assert is_there(environ | {"IT2_SUITE": "Other"})
    assert not is_there(environ | {"IT2_SUITE": "Third"})


def test_asking_whether_it_is_there_loads_nothing_of_it():
    code = (
        "import sys; from mahavishnu_debug_monitor.windows.iterm2 import is_there; is_there({'HOME': '/'}); "
        "print([name for name in ('iterm2', 'websockets', 'google', 'asyncio') if name in sys.modules])"
    )
    done = trio.run(partial(trio.run_process, [sys.executable, "-c", code], capture_stdout=True))
    assert done.stdout == b"[]\n"


async def test_a_cookie_that_is_used_up_is_replaced_by_a_fresh_one(osascript):
    asked = osascript("echo fresh its-key")
    async with scripted_iterm2() as iterm2:
        iterm2.cookies = {"fresh"}
        async with open_iterm2("", FOREVER, iterm2.environ):
            assert len(iterm2.open_sessions) == 1
        assert [headers.get("x-iterm2-cookie") for headers in iterm2.headers] == ["let-me-in", "fresh"]
        assert iterm2.headers[-1]["x-iterm2-key"] == "its-key"
    assert (
        'tell application "iTerm2" to request cookie and key for app named "mahavishnu"' in asked.read_text()
    )


async def test_without_a_cookie_one_is_asked_for_and_only_of_an_application_that_runs(osascript):
    asked = osascript("echo fresh its-key")
    async with scripted_iterm2() as iterm2:
        iterm2.cookies = {"fresh"}
        async with open_iterm2(
            "", FOREVER, {**iterm2.environ, "ITERM2_COOKIE": "", "IT2_APP_PATH": '/A"b.app'}
        ):
            pass
        assert [headers.get("x-iterm2-cookie") for headers in iterm2.headers] == ["fresh"]
    assert 'if application "/A\\"b.app" is running then' in asked.read_text()


async def test_a_fresh_cookie_that_is_not_taken_is_a_refusal(osascript):
    osascript("echo fresh its-key")
    async with scripted_iterm2() as iterm2:
        iterm2.cookies.clear()
        with pytest.raises(WindowRefused, match="does not take its own cookie"):
            async with open_iterm2("", FOREVER, iterm2.environ):
                pass
        assert len(iterm2.headers) == 2


async def test_where_a_cookie_cannot_be_asked_for_it_is_said_what_to_do(osascript):
    async with scripted_iterm2() as iterm2:
        iterm2.cookies.clear()
        with pytest.raises(WindowRefused, match=r"there-is-none: No such file.*set ITERM2_COOKIE"):
            async with open_iterm2("", FOREVER, iterm2.environ):
                pass


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'execution error: Not authorised (-1743)' >&2; exit 1", r"Not authorised \(-1743\)"),
        ("echo two words; exit 4", "osascript ended with status 4"),
        ("exit 3", "osascript ended with status 3"),
        ("echo one two three", "osascript ended with status 0"),
    ],
)
async def test_a_cookie_that_is_refused_is_told_with_its_reason(osascript, body, said):
    osascript(body)
    async with scripted_iterm2() as iterm2:
        with pytest.raises(WindowRefused, match=f"{said}.*turn on the Python API"):
            async with open_iterm2("", FOREVER, {"HOME": str(iterm2.home), "PATH": iterm2.environ["PATH"]}):
                pass


async def test_nobody_waits_for_ever_for_a_cookie(osascript, impatient):
    osascript("exec sleep 1000")
    async with scripted_iterm2() as iterm2:
        with pytest.raises(WindowRefused, match=r"has not come for 0\.3 s"):
            async with open_iterm2("", FOREVER, iterm2.environ | {"ITERM2_COOKIE": ""}):
                pass


async def test_where_no_cookie_is_needed_none_is_asked_for(osascript, monkeypatch):
    async with scripted_iterm2() as iterm2:
        iterm2.is_open_to_all = True
        mark = iterm2.home / "Library/Application Support/iTerm2/disable-automation-auth"
        mark.write_text(f"{str(mark).encode().hex()} 61DF88DC-3423-4823-B725-22570E01C027")
        if mark.stat().st_uid:
            pytest.skip("only root can open iTerm2 to all")
        async with open_iterm2("", FOREVER, iterm2.environ | {"ITERM2_COOKIE": ""}):
            assert "x-iterm2-cookie" not in iterm2.headers[0]
        mark.write_text("anything else")
        with pytest.raises(WindowRefused, match="there-is-none"):
            async with open_iterm2("", FOREVER, iterm2.environ | {"ITERM2_COOKIE": ""}):
                pass


@pytest.mark.parametrize(
    ("status", "said"), [(406, "too new for the package iterm2"), (500, "HTTP status 500")]
)
async def test_a_refused_connection_is_told_with_its_reason(status, said):
    async with scripted_iterm2() as iterm2:
        iterm2.refuses_with = status
        with pytest.raises(WindowRefused, match=said):
            async with open_iterm2("", FOREVER, iterm2.environ):
                pass
