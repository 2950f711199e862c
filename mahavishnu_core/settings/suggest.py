"""The nearest of some known words to one that is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 80


def nearest(word: str, words: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The word that was probably meant, None where none is near enough; ``cutoff`` 1 wants the very word."""
    from difflib import get_close_matches

    near = get_close_matches(word[:_LONGEST], sorted(words), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no word is near."""
    near = nearest(word, words)
    return f" (did you mean {near!r}?)" if near else ""
