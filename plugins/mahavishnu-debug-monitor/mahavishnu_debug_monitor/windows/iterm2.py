"""A window of iTerm2: opened over its socket, and read row by row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_debug_monitor.windows.window import NewLines, Window, WindowGone, WindowRefused

if TYPE_CHECKING:
    from mahavishnu_debug_monitor.windows.iterm2_connection import Connection, Page, Row

_ROWS_AT_ONCE = 1000
"""iTerm2 does nothing else while it tells them."""
_LINES_TO_KNOW_AGAIN = 8


def is_there(environ: Mapping[str, str]) -> bool:
    """Whether an iTerm2 can be asked: whether there is a socket of one that runs, or has run."""
    try:
        return _socket(environ).exists()
    except OSError:  # it is another user's
        return False


@asynccontextmanager
async def open_iterm2(
    profile: str, command: Sequence[str], environ: Mapping[str, str]
) -> AsyncIterator[Window]:
    """A window that runs a command, closed in the end. Raises WindowRefused. ``profile`` may be empty."""
    access = "in iTerm2, in a window of its own" + (f" (profile {profile!r})" if profile else "")
    with _as_raised():
        async with trio.open_nursery() as nursery:
            connection = await _let_in(nursery, environ)
            try:
                async with connection.session(profile, command) as session:
                    yield _Iterm2Window(access, connection, session)
            finally:
                connection.hang_up()


def _socket(environ: Mapping[str, str]) -> Path:
    return _support(environ) / "private" / "socket"


def _support(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or Path.home())
    return home / "Library" / "Application Support" / environ.get("IT2_SUITE", "iTerm2")


@contextmanager
def _as_raised() -> Iterator[None]:
    """What the caller's block raises comes out as it is, although a nursery is round it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]
        raise error from error.__cause__  # noqa: ASYNC123  # the group has nothing to add


async def _let_in(nursery: trio.Nursery, environ: Mapping[str, str]) -> Connection:
    from mahavishnu_debug_monitor.windows.iterm2_connection import NotLetIn, connect
    from mahavishnu_debug_monitor.windows.iterm2_cookie import ask_for_cookie, cookie_of, needs_no_cookie

    socket, given = _socket(environ), cookie_of(environ)
    if given is not None or needs_no_cookie(_support(environ)):
        with suppress(NotLetIn):  # it may be used up
            return await connect(nursery, socket, given)
    try:
        return await connect(nursery, socket, await ask_for_cookie(environ))
    except NotLetIn as error:
        raise WindowRefused(
            "it does not take its own cookie: look into its settings (General, Magic)"
        ) from error


@attrs.define(eq=False)
class _Iterm2Window:
    access: str
    _connection: Connection
    _session: str
    _columns: int = 0
    """How wide it was; when this changes, its rows are others, and have other numbers."""
    _reading: _Reading = attrs.field(factory=lambda: _Reading())
    _last_told: tuple[str, ...] = ()
    _gone: str = ""

    async def new_lines(self) -> NewLines:
        if self._gone:
            raise WindowGone(self._gone)
        try:
            return await self._read()
        except WindowGone as gone:
            self._gone = str(gone)
            raise

    async def _read(self) -> NewLines:
        if self._session in self._connection.ended:
            from mahavishnu_debug_monitor.windows.iterm2_connection import CLOSED

            raise WindowGone(CLOSED)
        self._columns = self._columns or await self._connection.columns(self._session)
        # a call that is cancelled has read, but not told: the next one does
        is_sound = await self._read_on(self._reading)
        columns = await self._connection.columns(self._session)
        if not is_sound or columns != self._columns:
            self._reading, self._columns = await self._find_again()
        told = self._reading.tell()
        self._last_told = (*self._last_told, *told.lines)[-_LINES_TO_KNOW_AGAIN:]
        return told

    async def _read_on(self, reading: _Reading) -> bool:
        """Read up to the cursor's row; False where the numbers are not those of the rows read before."""
        extent = await self._connection.extent(self._session)
        if extent.end < reading.next:
            return False
        while True:
            end = min(reading.next + _ROWS_AT_ONCE, extent.end)
            page = await self._connection.page(self._session, reading.next, end)
            if page.cursor < reading.next:
                return False
            reading.take(page, end)
            if reading.next < end or end == extent.end:
                return True

    async def _find_again(self) -> tuple[_Reading, int]:
        """Read all that there is, and leave out what was told: its rows were numbered anew."""
        while True:
            columns = await self._connection.columns(self._session)
            extent = await self._connection.extent(self._session)
            reading = _Reading(extent.first, is_torn=extent.first > 0)
            if await self._read_on(reading) and await self._connection.columns(self._session) == columns:
                reading.leave_out(self._last_told)
                return reading, columns


@attrs.define
class _Reading:
    """Rows become lines: what was read, and what has not been told of it."""

    next: int = 0
    """The row to read next."""
    begun: list[str] = attrs.field(factory=list)
    """The rows of a line that is not whole."""
    is_torn: bool = False
    """Whether the line that is begun may have more rows, which are lost."""
    lines: list[str] = attrs.field(factory=list)
    lost: int = 0
    """Rows."""
    longest: int = 1
    """Rows of a line, at most, as far as we have seen."""

    def take(self, page: Page, end: int) -> None:
        """A page that was to end before the row ``end``; the rows of it that are lost are its first."""
        if (lost := end - self.next - len(page.rows)) > 0:
            self.lost += lost + len(self.begun)
            self.next += lost
            self.begun, self.is_torn = [], True
        for row in page.rows[: max(page.cursor - self.next, 0)]:
            self._add(row)

    def _add(self, row: Row) -> None:
        self.next += 1
        self.begun.append(row.text)
        if row.goes_on:
            return
        self.longest = max(self.longest, len(self.begun))
        if self.is_torn:
            self.lost += len(self.begun)
        else:
            self.lines.append("".join(self.begun).replace("\0", " ").rstrip())
        self.begun, self.is_torn = [], False

    def leave_out(self, told: tuple[str, ...]) -> None:
        """Forget the lines up to those that were told last, where they are found."""
        for end in range(len(self.lines), 0, -1):
            start = max(end - len(told), 0)
            if told and self.lines[start:end] == [*told[start - end :]]:
                self.lines, self.lost = self.lines[end:], 0
                return

    def tell(self) -> NewLines:
        """What is new since the last time. Lost rows are told once it is known where the next line begins."""
        missing = 0 if self.is_torn else -(-self.lost // self.longest)
        told = NewLines(self.lines, missing)
        self.lines, self.lost = [], self.lost if self.is_torn else 0
        return told
