"""Lines are told once and in order, however a terminal wraps them, drops the oldest, and is looked at."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mahavishnu_debug_monitor.windows.overlap import Capture, Follower
from mahavishnu_debug_monitor.windows.window import NewLines

HEADER = "the first line"


@attrs.define
class Terminal:
    """As tmux is one: it wraps, keeps so many rows above the screen, and drops the oldest tenth when full."""

    width: int = 40
    height: int = 5
    limit: int = 1000
    rows: list[tuple[str, bool]] = attrs.field(factory=lambda: [("", False)])
    """Each with whether the next one goes on with the same line; the cursor is in the last."""

    def type(self, text: str) -> None:
        for character in text:
            if character == "\n":
                self._feed(wraps=False)
            else:
                if len(self.rows[-1][0]) == self.width:
                    self._feed(wraps=True)
                self.rows[-1] = (self.rows[-1][0] + character, False)

    def resize(self, width: int) -> None:
        lines, self.rows, self.width = self.lines(0), [], width
        for line in lines:
            pieces = [line[at : at + width] for at in range(0, len(line), width)] or [""]
            self.rows += [(piece, True) for piece in pieces[:-1]] + [(pieces[-1], False)]

    def capture(self, rows: int | None) -> Capture:
        history = max(0, len(self.rows) - self.height)
        start = 0 if rows is None else max(0, history - rows)
        return Capture(self.lines(start), len(self.rows) - 1, self.width, start == 0)

    def lines(self, start: int) -> list[str]:
        found, line = [], ""
        for text, wraps in self.rows[start:]:
            line += text
            if not wraps:
                found.append(line)
                line = ""
        return found

    def _feed(self, *, wraps: bool) -> None:
        self.rows[-1] = (self.rows[-1][0], wraps)
        if len(self.rows) - self.height >= self.limit:
            del self.rows[: max(1, self.limit // 10)]
        self.rows.append(("", False))


@attrs.define
class Watched:
    """A terminal, what was printed in it and what was told of it."""

    terminal: Terminal
    reach: int = 10
    printed: str = ""
    told: list[str] = attrs.field(factory=list)
    gaps: list[int] = attrs.field(factory=list)
    """How many lines had been told when some were said to be missing."""
    follower: Follower = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.terminal.type(f"{HEADER}\n")
        tenth = max(1, self.terminal.limit // 10)
        self.follower = Follower([HEADER], -(-len(HEADER) // self.terminal.width), self.terminal.width, tenth)

    def print(self, text: str) -> None:
        self.printed += text
        self.terminal.type(text)

    def look(self) -> None:
        news = self.follower.take(self.terminal.capture(self.reach))
        if news is None:
            news = self.follower.take(self.terminal.capture(None))
        assert news is not None
        if news.missing:
            last = self.told[-1] if self.told else HEADER
            assert last not in [line.rstrip() for line in self.terminal.lines(0)[:-1]]
            self.gaps.append(len(self.told))
        self.told += news.lines

    @property
    def whole(self) -> list[str]:
        """The lines that were printed to their end, as they are to be told."""
        return [line.rstrip() for line in self.printed.split("\n")[:-1]]


TERMINALS = st.builds(Terminal, width=st.integers(15, 40), height=st.integers(1, 6), limit=st.integers(1, 60))
WIDTHS = st.integers(5, 60)
STEPS = st.one_of(
    st.lists(st.integers(0, 90), max_size=30),  # lines of these lengths are printed
    st.booleans(),  # it is looked at; or the line that is printed next comes in two pieces
    WIDTHS,  # it is resized
)


@given(TERMINALS, st.lists(STEPS, max_size=30), st.integers(0, 60))
def test_each_line_is_told_once_and_in_order(terminal, steps, reach):
    watched = Watched(terminal, reach)
    count, begun = 0, ""
    for step in [*steps, [0], True]:
        match step:
            case True:
                watched.look()
            case False:
                begun = begun or f"{count:06} "
                watched.print(begun if not watched.printed.endswith(begun) else "more ")
            case int():
                terminal.resize(step)
            case lengths:
                for length in lengths:
                    watched.print("y" * length + " " * (length % 3) + "\n" if begun else line(count, length))
                    count, begun = count + 1, ""
    known = {text: at for at, text in enumerate(watched.whole)}
    places = [known[text] for text in watched.told]
    assert places == sorted(set(places))
    jumps = {
        at for at, (one, next_) in enumerate(zip([-1, *places], places, strict=False)) if next_ > one + 1
    }
    assert jumps <= set(watched.gaps)
    if not watched.gaps:
        assert watched.told == watched.whole


def line(number: int, length: int) -> str:
    return f"{number:06} " + "x" * length + " " * (length % 3) + "\n"


TEXTS = st.sampled_from(["", "x", "same", "x" * 15, "x" * 16, "x" * 40])
FEW = st.lists(TEXTS, max_size=6)


@given(st.lists(st.tuples(FEW, TEXTS), max_size=60), st.integers(0, 40), st.integers(1, 5))
@example([(["x"] * 6, "")] * 60, 10, 5)
@example([(["x" * 40, "x" * 40], "x" * 20), (["x" * 20], "")] * 60, 40, 5)
def test_lines_that_are_equal_are_told_each(batches, reach, height):
    watched = Watched(Terminal(width=15, height=height, limit=300), reach)
    for batch, begun in batches:
        watched.print("".join(f"{text}\n" for text in batch) + begun)
        watched.look()
    assert (watched.told, watched.gaps) == (watched.whole, [])


@given(st.lists(st.tuples(FEW, WIDTHS), max_size=20))
def test_blank_lines_between_others_do_not_mislead_it_when_the_window_is_resized(batches):
    watched = Watched(Terminal())
    for number, (batch, width) in enumerate(batches):
        watched.print("".join(f"{text}\n" for text in [*batch, f"{number:06}", ""]))
        watched.terminal.resize(width)
        watched.look()
    assert (watched.told, watched.gaps) == (watched.whole, [])


def test_a_resize_tells_nothing_twice_where_all_lines_are_equal():
    watched = Watched(Terminal())
    watched.print(f"{'x' * 30}\n" * 300)
    watched.look()
    watched.terminal.resize(20)
    watched.look()
    assert watched.told == watched.whole


@pytest.mark.parametrize(("history", "printed", "blank"), [(80, 22, {8, 9}), (99, 21, {7})])
def test_blank_lines_do_not_mislead_it_when_rows_were_dropped_that_nobody_noticed(history, printed, blank):
    watched = Watched(Terminal(limit=100))
    watched.print("".join(line(number, 0) for number in range(history + 1)) + "\n\n")
    watched.look()
    watched.print("".join("\n" if number in blank else line(number + 500, 0) for number in range(printed)))
    watched.look()
    assert (watched.told, watched.gaps) == (watched.whole, [])


def test_a_line_that_ends_as_the_last_one_did_is_no_sign_that_it_is_that_one():
    follower = Follower([HEADER, "one two"], 1, 40, 10)
    news = follower.take(Capture(["two", "three", ""], 2, 40, is_whole=True))
    assert news == NewLines(["three"], missing=1)


def test_a_capture_may_begin_in_the_middle_of_a_line_that_was_told():
    follower = Follower([HEADER, "one two", "three"], 3, 40, 10)
    news = follower.take(Capture(["two", "three", "four", ""], 3, 20, is_whole=True))
    assert news == NewLines(["four"])


def test_a_line_is_not_told_before_it_is_whole():
    watched = Watched(Terminal(width=20))
    watched.print("one\n" + "t" * 50)
    watched.look()
    assert watched.told == ["one"]
    watched.print("wo\n")
    watched.look()
    assert watched.told == ["one", "t" * 50 + "wo"]


@pytest.mark.parametrize("looks_first", [True, False])
def test_lines_that_the_history_dropped_before_they_were_told_are_said_to_be_missing(looks_first):
    watched = Watched(Terminal(limit=50))
    if looks_first:
        watched.look()
    watched.print("".join(line(number, 0) for number in range(1000)))
    watched.look()
    watched.look()
    assert watched.gaps == [0]
    assert watched.told == watched.whole[-len(watched.told) :]
    assert len(watched.told) > 40


def test_what_is_left_of_a_line_whose_beginning_was_dropped_is_not_told():
    watched = Watched(Terminal(width=20, limit=10))
    for number in range(30):
        watched.print(line(number, 50 + number))
    watched.look()
    assert watched.gaps == [0]
    assert watched.told == watched.whole[-len(watched.told) :]


def test_a_screen_that_was_cleared_is_followed_on():
    watched = Watched(Terminal())
    watched.print("one\ntwo\n")
    watched.look()
    watched.terminal.rows = [("", False)]
    watched.look()
    assert (watched.told, watched.gaps) == (["one", "two"], [])
    watched.print("three\nfour\n")
    watched.look()
    watched.print("five\n")
    watched.look()
    assert (watched.told, watched.gaps) == (["one", "two", "four", "five"], [2])


@pytest.mark.parametrize("text", ["漢字" * 30, "e\u0301" * 50, "\u200bx", "😀" * 11])
def test_characters_of_any_width_do_not_mislead_it(text):
    watched = Watched(Terminal(width=20))
    for _ in range(30):
        watched.print(f"{len(watched.whole)} {text}\n")
        watched.look()
    assert (watched.told, watched.gaps) == (watched.whole, [])
