"""Base parsers: for agents that print one JSON object a line, and for plain output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mahavishnu_core.events import Event, Finished, Notice, Raw, Text
from mahavishnu_core.stream.kept import KeptText

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON, Exit

_MAX_TEXT = 64 * 1024 * 1024
_LAST_LINES = 10


class ObjectParser:
    """Base of parsers of agents that print one JSON object a line: write ``read``, and ``end`` if need be.

    A line that is no object becomes a notice, ``noise``; an object that ``read`` raises on is lost alone.
    """

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterable[Event]:
        events: list[Event] = []
        read = self.read
        for line in lines:
            if isinstance(line, str):
                events.append(Notice("noise", line))
                continue
            try:
                events += read(line)
            except Exception as error:  # noqa: BLE001  # foreign code, and here the line is known
                events.extend(malformed(error, line))
        return events

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        """The events that one object stands for."""
        raise NotImplementedError

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """What is left to say once the command has ended: nothing."""
        return ()


class LinesParser:
    """For plain output: every line is a text, and the exit decides.

    The result's text is the whole output but for its last newline, up to ``max_text`` bytes of UTF-8.
    """

    def __init__(self, max_text: int = _MAX_TEXT) -> None:
        self._output = KeptText(max_text, "\n")

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterable[Event]:
        texts = [line for line in lines if isinstance(line, str)]
        for text in texts:
            self._output.add(text)
        return [Text(text) for text in texts]

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        yield from self._output.notices()
        text = self._output.take()
        if exit.is_clean:
            yield Finished(success=True, text=text)
        else:
            reason = "signal" if exit.signal else "exit_status"
            yield Finished(success=False, text=text, error=_why(exit, stderr), reason=reason)


def malformed(error: BaseException, line: dict[str, JSON] | str) -> list[Event]:
    """What is left of a line that a parser raised on."""
    notice = Notice("malformed", f"{type(error).__name__}: {error}")
    return [notice, Raw(line)] if isinstance(line, dict) else [notice]


def _why(exit: Exit, stderr: str) -> str:
    last = "\n".join(stderr.strip().split("\n")[-_LAST_LINES:])
    if last or exit.error:
        return last or str(exit.error)
    if exit.signal:
        return exit.signal
    return "exit status unknown" if exit.exit_code is None else f"exit status {exit.exit_code}"
