"""The base parsers: objects a line, and plain output."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from mahavishnu_core.events import Event, Finished, Notice, Raw, Text
from mahavishnu_core.models import Exit
from mahavishnu_core.stream import LinesParser, ObjectParser

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


class Counting(ObjectParser):
    """Says how many objects it has seen, and cannot bear one that is marked bad."""

    def __init__(self) -> None:
        self._seen = 0

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._seen += 1
        yield Text(f"{self._seen}")
        if "bad" in data:
            raise LookupError("no such thing")


def test_objects_are_read_and_other_lines_are_noise() -> None:
    events = Counting().feed([{"a": 1}, "warming up", {"b": 2}])

    assert events == [Text("1"), Notice("noise", "warming up"), Text("2")]


def test_an_object_that_cannot_be_read_is_lost_alone() -> None:
    events = Counting().feed([{"a": 1}, {"bad": 2}, {"c": 3}])

    assert events == [
        Text("1"),
        Text("2"),
        Notice("malformed", "LookupError: no such thing"),
        Raw({"bad": 2}),
        Text("3"),
    ]


def test_a_parser_of_objects_has_nothing_to_say_at_the_end() -> None:
    assert list(Counting().end(Exit(exit_code=1), "boom")) == []


def test_a_parser_of_objects_must_say_how_to_read_them() -> None:
    with pytest.raises(NotImplementedError):
        ObjectParser().read({})


def ended(lines: list[str], exit: Exit, stderr: str = "", max_text: int = 1000) -> list[Event]:
    parser = LinesParser(max_text)
    for line in lines:
        assert parser.feed([line]) == [Text(line)]
    return list(parser.end(exit, stderr))


def test_the_result_of_plain_output_is_the_output() -> None:
    output = ["  one", "", "two\r\x00", "", ""]

    assert ended(output, Exit(exit_code=0)) == [Finished(success=True, text="\n".join(output))]


def test_no_output_is_an_empty_text() -> None:
    assert ended([], Exit(exit_code=0)) == [Finished(success=True, text="")]


def test_a_failure_is_told_by_the_last_lines_of_its_errors() -> None:
    stderr = "".join(f"line {number}\n" for number in range(100))

    (finished,) = ended(["out"], Exit(exit_code=3), stderr)

    last = "\n".join(f"line {number}" for number in range(90, 100))
    assert finished == Finished(success=False, text="out", error=last, reason="exit_status")


@pytest.mark.parametrize(
    ("exit", "error", "reason"),
    [
        (Exit(exit_code=3), "exit status 3", "exit_status"),
        (Exit(signal="SIGSEGV"), "SIGSEGV", "signal"),
        (Exit(), "exit status unknown", "exit_status"),
        (Exit(error="no such program"), "no such program", "exit_status"),
    ],
)
def test_a_failure_without_a_word_is_told_by_its_exit(exit: Exit, error: str, reason: str) -> None:
    assert ended([], exit) == [Finished(success=False, text="", error=error, reason=reason)]


def test_a_result_over_the_bound_is_cut_and_says_so() -> None:
    notice, finished = ended(["ä" * 300_000, "ö" * 300_000], Exit(exit_code=0), max_text=2**20 - 1)

    assert notice == Notice("cut", "text cut at 0.999999 MiB: the whole is in stdout.jsonl")
    assert finished == Finished(success=True, text="ä" * 300_000 + "\n" + "ö" * 224_287)


def test_a_result_of_exactly_the_bound_is_whole() -> None:
    assert ended(["12345", "789"], Exit(exit_code=0), max_text=9) == [
        Finished(success=True, text="12345\n789")
    ]


def test_short_lines_take_little_more_memory_than_their_text() -> None:
    parser = LinesParser()
    tracemalloc.start()
    try:
        for _ in range(200):
            parser.feed(["0123456789"] * 1000)
        finished = list(parser.end(Exit(exit_code=0), ""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    size = 200 * 1000 * len("0123456789\n")
    assert finished == [Finished(success=True, text="0123456789\n" * 199_999 + "0123456789")]
    assert peak < 3 * size
