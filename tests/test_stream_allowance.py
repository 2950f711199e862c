"""How many events a parser may give: without end never, and whatever honest ones make of any line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from mahavishnu_core.events import Event, Text, Tokens, Usage
from mahavishnu_core.hookspecs import Parser
from mahavishnu_core.host import load_plugins
from mahavishnu_core.models import JSON, Exit, Tracking, WorkerType
from mahavishnu_core.output import _WatchedParser
from mahavishnu_core.stream import GenericParser, LinesParser, StreamJsonParser, StreamReader, allowance
from mahavishnu_core.stream.allowance import A_LINE, MOST, Allowance
from mahavishnu_core.testing import Sample
from mahavishnu_core.testing.contract.subject import task_of, worker_of
from mahavishnu_core.watch import Watch


def count_of(parser: Parser, output: bytes, tracking: Tracking = "stream-json") -> int:
    """How many events it makes of an output, all of which it may give."""
    watched = _WatchedParser(parser, Watch("honest", "acme 1.0", "its parser", 60.0, lambda _: None))
    reader = StreamReader(watched, tracking)
    events = [*reader.feed(output), *reader.end(Exit(exit_code=0), "")]
    assert watched._blocked is None
    return len(events)


def endless() -> Iterator[Event]:
    for number in itertools.count():
        assert number < 2 * MOST, "there is no bound"
        yield Text("more")


@pytest.mark.parametrize("lines", [(), ["one"], [{"type": "one"}]], ids=str)
def test_events_without_end_are_taken_up_to_a_bound(lines: Sequence[dict[str, JSON] | str]) -> None:
    assert Allowance().take(endless(), lines) is None


def test_many_lines_save_up_no_more_than_there_was_at_first() -> None:
    held = Allowance()
    for _ in range(3):
        assert held.take([Text("one")], ["line"] * MOST) is not None
    assert held.take(endless()) is None


def test_what_was_given_is_gone_and_lines_bring_it_back() -> None:
    held = Allowance()
    assert held.take([Text("one")] * MOST) is not None
    assert held.take([Text("one")]) is None
    assert held.take([Text("one")] * A_LINE, ["line"]) is not None
    assert held.take([Text("one")] * (2 * A_LINE), ["line"]) is None


# --- honest ones


class Robot(StreamJsonParser):
    def usage(self, data: dict[str, JSON]) -> Usage:
        return Usage(Tokens())


BLOCKS: dict[str, dict[str, JSON]] = {
    "words": {"type": "assistant", "message": {"content": [{"type": "text", "text": "a"}] * 2 * MOST}},
    "tools": {"type": "assistant", "message": {"content": [{"type": "tool_use"}] * 2 * MOST}},
    "answers": {"type": "user", "message": {"content": [{"type": "tool_result"}] * 2 * MOST}},
    "denials": {"type": "result", "permission_denials": [{"tool_use_id": f"{n}"} for n in range(2 * MOST)]},
}


@pytest.mark.thorough
@pytest.mark.parametrize("line", BLOCKS.values(), ids=BLOCKS)
def test_a_line_that_means_many_events_is_read_whole(line: dict[str, JSON]) -> None:
    output = json.dumps(line).encode() + b"\n"
    assert count_of(Robot(), output) >= 2 * MOST
    assert count_of(Robot(), b'{"type": "odd"}\n' * MOST + output) >= 3 * MOST


def test_a_long_line_of_text_may_mean_many_events() -> None:
    class Words(LinesParser):
        def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterator[Event]:
            return (Text(word) for line in lines for word in str(line).split())

    assert count_of(Words(), b"something " * (2 * MOST) + b"\n", "lines") >= 2 * MOST


@pytest.mark.whole
def test_no_sample_needs_a_twentieth_of_what_its_lines_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "A_LINE", A_LINE // 20)
    monkeypatch.setattr(allowance, "MOST", A_LINE // 20)
    host = load_plugins()
    kinds = {
        kind.name: kind for _, kinds in host.all("worker_types") for kind in cast("list[WorkerType]", kinds)
    }
    samples = [each for _, found in host.all("samples") for each in cast("list[Sample]", found)]
    assert {"claude", "qwen"} <= {kinds[sample.worker_type].agent for sample in samples}
    for sample in samples:
        kind = kinds[sample.worker_type]
        worker = worker_of(kind)
        task = task_of(worker, resume=sample.resume)
        parser = cast("Parser", host.ask("parse_progress", worker=worker, task=task))
        count_of(parser, sample.stdout, kind.progress_tracking)
        count_of(GenericParser(), sample.stdout)
