"""The keeper's descriptors and memory over time, and whether they grow."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from mahavishnu_core.keeper_link import connect
from mahavishnu_core.testing.processes import keepers, open_files, resident_kb

_EVERY = 2.0
"""Seconds between looks."""
_ENOUGH = 30
"""Looks at one keeper from which a slope says something."""
_MOST_PER_MINUTE = {"descriptors": 4.0, "kilobytes": 512.0}
"""A leak of one descriptor a task would be hundreds."""


@attrs.frozen
class Sample:
    seconds: float
    descriptors: int
    kilobytes: int


@attrs.define(eq=False)
class KeeperSeries:
    """Samples by the pids of keepers: one that was killed has a successor."""

    state: Path
    samples: dict[int, list[Sample]] = attrs.field(factory=lambda: defaultdict(list))

    async def watch(self) -> None:
        while True:
            self._look()
            await trio.sleep(_EVERY)

    async def accompany(self) -> None:
        """Call a keeper and say nothing, so that one stays: else it ends whenever nothing runs."""
        while True:
            async with await connect(self.state) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some(1)  # until it is gone

    def _look(self) -> None:
        for keeper in keepers(self.state):
            try:
                sample = Sample(time.monotonic(), len(open_files(keeper.pid)), resident_kb(keeper.pid))
            except (OSError, StopIteration):  # it has just ended
                continue
            self.samples[keeper.pid].append(sample)

    def told(self) -> Iterator[str]:
        """A line for each figure of a keeper that was seen for long."""
        yield f"{len(self.samples)} keepers seen"
        for pid, half in self._halves():
            for name, slope in _slopes(half).items():
                low, high = (pick(getattr(sample, name) for sample in half) for pick in (min, max))
                bound = _MOST_PER_MINUTE[name]
                yield f"keeper {pid}: {low} to {high} {name}, {slope:+.2f} a minute (at most {bound:g})"

    def faults(self) -> Iterator[str]:
        for pid, half in self._halves():
            for name, slope in _slopes(half).items():
                if slope > _MOST_PER_MINUTE[name]:
                    values = [getattr(sample, name) for sample in half]
                    yield f"keeper {pid}: its {name} grow by {slope:.2f} a minute: {values}"

    def _halves(self) -> Iterator[tuple[int, list[Sample]]]:
        """The second half of each series: what a keeper takes to warm up is no leak."""
        for pid, samples in self.samples.items():
            if len(samples) >= _ENOUGH:
                yield pid, samples[len(samples) // 2 :]


def _slopes(samples: Sequence[Sample]) -> dict[str, float]:
    """By how much each figure grows in a minute, by least squares."""
    minutes = [sample.seconds / 60 for sample in samples]
    return {
        name: statistics.linear_regression(minutes, [getattr(sample, name) for sample in samples]).slope
        for name in _MOST_PER_MINUTE
    }
