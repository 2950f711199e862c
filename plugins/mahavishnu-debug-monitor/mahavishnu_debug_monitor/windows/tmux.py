"""The tmux window: a server of its own shows what a command prints, and is asked for what it has shown."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.text import one_line, secrets_in
from mahavishnu_debug_monitor.windows.overlap import Capture, Follower
from mahavishnu_debug_monitor.windows.window import NewLines, Window, WindowGone, WindowRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

HISTORY = 100_000
"""Rows that the window can be scrolled back, and that may be printed between two questions without loss."""
_PATIENCE = 5.0
_CLOSING = 2.0
_WIDTH, _HEIGHT = 200, 50
_LEAST_ROWS = 300
"""Rows of the history that are always asked for: lines told already, and what a usual log adds meanwhile."""
_FACTS = "#{history_size} #{cursor_y} #{pane_height} #{pane_width}"
_HANDED_ON = {"PATH", "HOME", "LANG", "TERM", "TMUX_TMPDIR"}


def find_tmux(environ: Mapping[str, str]) -> str | None:
    """The program, None where there is none."""
    return shutil.which("tmux", path=environ.get("PATH", os.defpath))


@asynccontextmanager
async def open_tmux(
    name: str, command: Sequence[str], environ: Mapping[str, str], *, history: int = HISTORY
) -> AsyncIterator[Window]:
    """Show what a command prints in a tmux server named after ``name``. Raises WindowRefused."""
    program = find_tmux(environ)
    if program is None:
        raise WindowRefused("there is no program 'tmux' on the PATH")
    server = _Server(program, f"mahavishnu-{name}", _environment(environ), _directory(environ))
    await server.end()  # whoever was killed while the same window was open has left it
    try:
        # not to be cut short: a server that is just coming up cannot be told to end
        with trio.CancelScope(shield=True):
            pane = await server.start(command, history)
        yield TmuxWindow(server, pane, Follower([server.label], 1, _WIDTH, max(1, history // 10)))
    finally:
        with trio.CancelScope(shield=True):
            await server.end()


async def end_left_tmux(name: str, environ: Mapping[str, str]) -> None:
    """End what is left of such a window, its socket perhaps, because whoever opened it was killed."""
    program, directory = find_tmux(environ), _directory(environ)
    server = _Server(program or "tmux", f"mahavishnu-{name}", _environment(environ), directory)
    if (directory / server.label).exists():
        await server.end()


@attrs.define(eq=False)
class TmuxWindow:
    """A pane, which is asked for its newest rows; for all of them where that does not tell what is new."""

    _server: _Server
    _pane: str
    _follower: Follower
    _rows: int = _LEAST_ROWS

    @property
    def access(self) -> str:
        return f"in tmux, attach with 'tmux -L {self._server.label} attach'"

    async def new_lines(self) -> NewLines:
        news = self._follower.take(await self._capture(self._rows))
        if news is None:
            news = self._follower.take(await self._capture(None))
            assert news is not None  # noqa: S101  # there is no more than the whole history
        self._rows = _LEAST_ROWS + 4 * len(news.lines)
        return news

    async def _capture(self, rows: int | None) -> Capture:
        """The screen and so many rows of the history before it, or all; with the facts of the same moment."""
        start = "-" if rows is None else str(-rows)
        facts = ("display-message", "-p", "-t", self._pane, _FACTS)
        lines = ("capture-pane", "-p", "-J", "-S", start, "-t", self._pane)
        try:
            done = await self._server.ask(*facts, ";", *lines, patience=_PATIENCE)
        except _NoAnswer as error:
            raise WindowGone(str(error)) from error
        if done.returncode:
            raise WindowGone("its window was closed")
        head, *shown = done.stdout.decode("utf-8", "replace").removesuffix("\n").split("\n")
        history, cursor, height, width = map(int, head.split())
        del shown[len(shown) - (height - 1 - cursor) :]  # the empty rows below the cursor
        return Capture(shown, history + cursor, width, rows is None or rows >= history)


class _NoAnswer(Exception):
    """The program tmux did nothing, or cannot be run."""


@attrs.define(eq=False)
class _Server:
    """A tmux server that nobody else uses; no settings of the user's reach it."""

    _program: str
    label: str
    _environ: Mapping[str, str]
    _directory: Path
    """Where tmux puts its socket."""
    _pid: int | None = None

    async def start(self, command: Sequence[str], history: int) -> str:
        """Start it with one pane that runs the command; the id of the pane. Raises WindowRefused."""
        options = {
            "history-limit": str(history),  # counts for panes that are made after it
            "status": "off",
            "default-shell": "/bin/sh",
            "alternate-screen": "off",  # what is shown there has no history
        }
        settings = [word for item in options.items() for word in ("set-option", "-g", *item, ";")]
        size = ("-x", str(_WIDTH), "-y", str(_HEIGHT))
        # by its first line one sees whether the beginning is still there
        line = f"printf '%s\\n' {shlex.quote(self.label)}; exec {shlex.join(command)}"
        session = ("new-session", "-d", "-P", "-F", "#{pid} #{pane_id}", *size, line)
        try:
            # what a person types there would be echoed between the lines
            done = await self.ask(*settings, *session, ";", "select-pane", "-d", patience=_PATIENCE)
        except _NoAnswer as error:
            raise WindowRefused(str(error)) from error
        if done.returncode:
            words = one_line(done.stderr.decode("utf-8", "replace"))
            raise WindowRefused(words or f"tmux ended with status {done.returncode}")
        pid, pane = done.stdout.decode().split()
        self._pid = int(pid)
        return pane

    async def ask(self, *words: str, patience: float) -> subprocess.CompletedProcess[bytes]:
        """What one client of the server says. Raises _NoAnswer."""
        with trio.move_on_after(patience):
            try:
                return await trio.run_process(
                    [self._program, "-u", "-f", os.devnull, "-L", self.label, *words],
                    stdin=subprocess.DEVNULL,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                    deliver_cancel=_kill,
                    start_new_session=True,
                    env=self._environ,
                )
            except OSError as error:
                raise _NoAnswer(f"{self._program!r} cannot be run: {error.strerror}") from error
        raise _NoAnswer("tmux does not answer")

    async def end(self) -> None:
        """End it, if it is there, and all that it runs."""
        try:
            await self.ask("kill-server", patience=_CLOSING)
        except _NoAnswer:
            self._kill()
        for name in (self.label, f"{self.label}.lock"):  # tmux 3.3a leaves its socket
            with suppress(FileNotFoundError, NotADirectoryError):
                (self._directory / name).unlink()

    def _kill(self) -> None:
        """End one that hangs. Its pid is still its own: one that has ended would have been told as gone."""
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


async def _kill(process: trio.Process) -> None:  # noqa: ASYNC124  # as Trio wants it
    """For a client: it has nothing to put in order."""
    process.kill()


def _environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """What the server needs to run and to show things, and the marks of the task that it belongs to."""
    return {name: value for name, value in environ.items() if _is_handed_on(name)}


def _is_handed_on(name: str) -> bool:
    if name.startswith("MAHAVISHNU_"):
        return not secrets_in({name: name})  # secret by the name alone, however short the value is
    return name in _HANDED_ON or name.startswith("LC_")


def _directory(environ: Mapping[str, str]) -> Path:
    """Where tmux looks for its sockets: below TMUX_TMPDIR where that is there, else below /tmp."""
    asked = environ.get("TMUX_TMPDIR", "")
    base = Path(asked) if asked and Path(asked).exists() else Path("/tmp")  # noqa: S108  # as tmux has it
    return base / f"tmux-{os.getuid()}"
