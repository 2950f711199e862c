"""Secrets that an agent says in pieces: they are in no record, and no record is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_cli.redaction import Redactor
from mahavishnu_core.events import Finished, Notice, TaskEvent, Text, Thinking

SECRET = "hunter2-canary"
SECRETS = (SECRET,)
OTHERS = [
    Notice("retry", "again"),
    Thinking("hmm", partial=True),
    Text("beside", partial=True, parent="sub"),
]


def told(events, task_id="w.1"):
    redactor = Redactor(SECRETS)
    records = []
    for seq, event in enumerate(events, 1):
        records += redactor.add(TaskEvent("w", task_id, seq, event))
    return [*records, *redactor.rest(task_id)]


def said(records):
    return "".join(each["text"] for each in records if each["type"] == "text" and each["partial"])


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
@pytest.mark.parametrize("between", [[], [Notice("retry", "again")]])
def test_a_secret_in_two_pieces_is_taken_out_wherever_it_is_cut(cut, between):
    pieces = [Text(f"a {SECRET[:cut]}", partial=True), *between, Text(f"{SECRET[cut:]} b", partial=True)]
    records = told(pieces)
    assert said(records) == "a [redacted] b"
    assert [each["seq"] for each in records] == [*range(1, len(pieces) + 1)]


def test_pieces_of_two_speakers_do_not_hide_a_secret_from_each_other():
    one = [Text(piece, partial=True) for piece in (SECRET[:5], SECRET[5:])]
    two = [Text(piece, partial=True, parent="sub") for piece in (SECRET[:3], SECRET[3:])]
    assert said(told([one[0], two[0], one[1], two[1]])).count("[redacted]") == 2


def test_what_only_looks_like_a_beginning_comes_as_it_was():
    pieces = [Text(text, partial=True) for text in ("my h", "unt", "er is late", "hu")]
    assert [each["text"] for each in told(pieces)] == ["my h", "unt", "er is late", "hu"]


def test_a_task_that_ends_tells_what_it_held_back():
    redactor = Redactor(SECRETS)
    assert [*redactor.add(TaskEvent("w", "w.1", 1, Text("hunt", partial=True)))] == []
    ended = [*redactor.add(TaskEvent("w", "w.1", 2, Finished(success=True)))]
    assert [each["type"] for each in ended] == ["text", "finished"]


@given(st.lists(st.one_of(st.sampled_from(OTHERS), st.text("hunter2-ca y", max_size=9)), max_size=12))
def test_no_event_is_lost_and_no_word_changed_but_secrets(pieces):
    events = [Text(each, partial=True) if isinstance(each, str) else each for each in pieces]
    records = told(events)
    assert [each["seq"] for each in records] == [*range(1, len(events) + 1)]
    words = "".join(event.text for event in events if isinstance(event, Text) and event.partial)
    own = [each for each in records if each.get("parent") is None]
    assert SECRET not in said(own)
    assert len(said(records)) == len(words) or "[redacted]" in said(records)
