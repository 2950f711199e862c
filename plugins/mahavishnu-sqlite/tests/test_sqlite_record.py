from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_core.errors import StorageError
from mahavishnu_sqlite.record import storable
from mahavishnu_sqlite.store import open_store

any_text = st.text(st.characters())


@given(any_text)
def test_any_text_can_be_stored_and_stays_as_it_is_where_utf_8_can_hold_it(text):
    stored = storable(text)
    stored.encode()
    assert stored == text or any("\ud800" <= character <= "\udfff" for character in text)


def test_a_lone_surrogate_is_written_out():
    assert storable("a\udc80b") == "a\\udc80b"


async def test_the_figures_have_columns_of_their_own(path, record, rows):
    known = {
        "model": "opus",
        "reason": "rate_limited",
        "session_id": "s2",
        "cost_usd": 0.25,
        "cost_origin": "reported",
        "usage": {"input_tokens": 10, "output_tokens": 20},
    }
    async with open_store(path) as store:
        await store.keep(record(metadata=known, exit_code=1, duration_seconds=2.5))
    columns = "worker_id, worker_type, agent, place, workspace, session_id, model, status, reason, prompt, "
    columns += "exit_code, duration_seconds, cost_usd, cost_origin, input_tokens, output_tokens, created"
    expected = (
        "w1",
        "terminal-claude",
        "claude",
        "local",
        "/repo",
        "s2",
        "opus",
        "completed",
        "rate_limited",
    )
    expected += ("say hello", 1, 2.5, 0.25, "reported", 10, 20, "2026-01-01T00:00:01.000000+00:00")
    assert rows(f"SELECT {columns} FROM results") == [expected]


def test_a_session_that_the_agent_never_named_is_the_tasks(record):
    assert record(metadata={"session_id": None}).session_id == "s1"


@pytest.mark.parametrize("absurd", [2**70, -(2**70), "12", True, [], {}, math.nan, None, 10**400])
async def test_absurd_figures_of_an_agent_are_left_out_of_the_columns_and_kept_in_the_metadata(
    path, record, rows, absurd
):
    known = {"cost_usd": absurd, "model": absurd, "usage": {"input_tokens": absurd}, "session_id": absurd}
    async with open_store(path) as store:
        await store.keep(record(metadata=known, exit_code=None))
        (found,) = await store.search("hello", 1)
    assert rows("SELECT typeof(input_tokens) FROM results") == [("null",)]
    assert repr(found.metadata) == repr(known)


@pytest.mark.parametrize(
    "text", ["", "ünïcödé 漢字 🎉", "a\0b", "\0", "x" * 1_000_000, "line\nline\r\n\x1b[31m", "\u2028\ufeff"]
)
async def test_texts_come_back_whole(path, parts, record, text):
    _, _, result = parts(output=text, error=text)
    async with open_store(path) as store:
        await store.keep(record(output=text, error=text))
        assert await store.search("hello", 1) == [result]


async def test_lone_surrogates_lose_nothing(path, record):
    async with open_store(path) as store:
        await store.keep(record(output="bad \udcff byte", metadata={"raw": "\udcff", "\ud800": 1}))
        (found,) = await store.search("byte", 1)
    assert found.output == "bad \\udcff byte"
    assert found.metadata == {"raw": "\udcff", "\ud800": 1}


def test_usage_of_an_unknown_shape_is_no_error(record):
    assert record(metadata={"usage": "lots"}).input_tokens is None


def test_metadata_that_is_no_json_is_a_storage_error(record):
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(StorageError, match=r"metadata of task 'w1.1'"):
        record(metadata={"endless": endless})


@pytest.mark.thorough
def test_a_text_too_long_for_any_row_fails_alone_and_before_it_is_written(record):
    with pytest.raises(StorageError, match=r"result of task 'w1.1' has over"):
        record(output="x" * 200_000_001)
