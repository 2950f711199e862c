"""Cutting a stream of bytes into chunks at any seams."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st


def chunks() -> st.SearchStrategy[list[int]]:
    """Seams, as parts of a million of the stream's length."""
    return st.lists(st.integers(0, 1_000_000), max_size=12)


def cut(stream: bytes, seams: list[int]) -> list[bytes]:
    places = sorted(len(stream) * seam // 1_000_000 for seam in seams)
    return [stream[start:end] for start, end in pairwise([0, *places, len(stream)])]
