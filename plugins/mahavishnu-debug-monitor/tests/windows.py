"""What the tests of windows share."""

from __future__ import annotations

import trio


async def told(window, last):
    """What is told up to a line, and how many lines are said to be missing."""
    lines, missing = [], 0
    with trio.fail_after(10):
        while last not in lines[-1:]:
            news = await window.new_lines()
            lines += news.lines
            missing += news.missing
            await trio.sleep(0.005)
    return lines, missing
