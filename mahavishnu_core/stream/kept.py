"""Text that is kept until it is wanted whole: compact, and up to a bound."""

from __future__ import annotations

from mahavishnu_core.events import Notice

_LOOSE = 64 * 1024
_SIZE_OF_SHORT_TEXT = 64


class KeptText:
    """Texts joined by ``joint``. What goes over ``limit``, in bytes of UTF-8, is dropped."""

    def __init__(self, limit: int, joint: str) -> None:
        self._limit = limit
        self._joint = joint
        self._begin()

    def add(self, text: str) -> None:
        # short texts take many times the memory of their characters, so they are packed now and then
        self.is_empty = False
        self._loose.append(text)
        self._loose_size += len(text) + _SIZE_OF_SHORT_TEXT
        if self._loose_size > _LOOSE:
            self._pack()

    def take(self) -> str:
        """The text; afterwards nothing is kept."""
        self._pack()
        packed = self._packed
        self._begin()
        return packed.decode("utf-8", "ignore")

    def notices(self) -> list[Notice]:
        """That the text is cut, if it is."""
        self._pack()
        if not self._is_cut:
            return []
        return [Notice("cut", f"text cut at {self._limit / 1024**2:g} MiB: the whole is in stdout.jsonl")]

    def _begin(self) -> None:
        self.is_empty = True
        self._is_cut = False
        self._packed = bytearray()
        self._loose: list[str] = []
        self._loose_size = 0

    def _pack(self) -> None:
        if not self._is_cut:
            self._packed += self._joint.join(self._loose).encode("utf-8", "replace")
            self._is_cut = len(self._packed) > self._limit
            del self._packed[self._limit :]
        # with an empty text in front, the next join begins with the joint
        self._loose = [] if self.is_empty else [""]
        self._loose_size = 0
