"""The watcher's standard output, a file: what cannot be written, on a full disk say, is kept for later."""

from __future__ import annotations

import os

import attrs


@attrs.define(eq=False)
class Output:
    """Whole lines in order. ``is_stuck`` tells whoever writes to wait with more."""

    _descriptor: int = 1
    _rest: bytes = b""

    @property
    def is_stuck(self) -> bool:
        """Whether something could not be written yet."""
        return bool(self._rest)

    def write(self, data: bytes = b"") -> None:
        """Write what was left over, then this, as far as it goes."""
        self._rest += data
        while self._rest:
            try:
                written = os.write(self._descriptor, self._rest)
            except OSError:
                return
            self._rest = self._rest[written:]
