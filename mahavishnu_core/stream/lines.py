"""Splits a stream of bytes into lines, the same ones for any chunking, in bounded memory."""

from __future__ import annotations

import attrs

MAX_LINE = 16 * 1024 * 1024
HEAD = 1024
_BOM = b"\xef\xbb\xbf"


@attrs.frozen
class LongLine:
    """A line over the bound: its size in bytes, and its first KiB."""

    size: int
    head: bytes


class LineSplitter:
    """Bytes in, lines out, split at 0x0A and nowhere else.

    A carriage return before the newline and a byte order mark at the start of the stream are left out of
    the lines. ``max_line`` is in bytes as they come: a longer line is counted and dropped.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._held = bytearray()
        self._size = 0
        self._bom = _BOM

    def feed(self, chunk: bytes) -> list[bytes | LongLine]:
        """The lines that end in this chunk."""
        pieces = chunk.split(b"\n")
        rest = pieces.pop()
        lines: list[bytes | LongLine] = []
        if pieces:
            self._hold(pieces[0])
            lines.append(self._take())
            del pieces[0]
            regular = len(chunk) <= self._max and b"\r" not in chunk
            lines += pieces if regular else map(self._line, pieces)
        self._hold(rest)
        return lines

    def finish(self) -> bytes | LongLine | None:
        """What came after the last newline; None if nothing did."""
        return self._take() if self._size else None

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._max:
            self._held += piece
        else:
            self._held += piece[: max(0, HEAD - len(self._held))]
            del self._held[HEAD:]

    def _take(self) -> bytes | LongLine:
        held, size = bytes(self._held).removeprefix(self._bom), self._size
        self._held.clear()
        self._size = 0
        self._bom = b""
        return LongLine(size, held) if size > self._max else held.removesuffix(b"\r")

    def _line(self, line: bytes) -> bytes | LongLine:
        return LongLine(len(line), line[:HEAD]) if len(line) > self._max else line.removesuffix(b"\r")
