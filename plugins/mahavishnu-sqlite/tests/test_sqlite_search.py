from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_sqlite.search import as_words
from mahavishnu_sqlite.store import open_store


@pytest.fixture
async def store(path):
    async with open_store(path) as store:
        yield store


async def found(store, text, limit=10):
    """Ids of tasks, and of batches of logs the numbers of their first lines."""
    results = await store.search(text, limit)
    return [result.metadata.get("task_id") or result.metadata["log"]["first"] for result in results]


async def test_prompt_output_and_error_are_searched(store, record):
    await store.keep(record("w1.1", prompt="needle", output=None))
    await store.keep(record("w1.2", output="a needle here"))
    await store.keep(record("w1.3", error="no needle"))
    await store.keep(record("w1.4"))
    assert sorted(await found(store, "needle")) == ["w1.1", "w1.2", "w1.3"]


async def test_all_words_must_occur_wherever_they_do(store, record):
    await store.keep(record("w1.1", prompt="write a parser", output="done in rust"))
    await store.keep(record("w1.2", prompt="write a parser", output="done in python"))
    assert await found(store, "rust parser") == ["w1.1"]
    assert await found(store, "rust cobol") == []


async def test_case_and_accents_make_no_difference(store, record):
    await store.keep(record(output="Café CRÈME"))
    assert await found(store, "cafe crème") == ["w1.1"]


async def test_the_better_match_comes_first(store, record):
    await store.keep(record("w1.1", output="parser " * 10, timestamp="2026-01-01"))
    await store.keep(record("w1.2", output="parser " + "and other things " * 50, timestamp="2026-01-02"))
    assert await found(store, "parser") == ["w1.1", "w1.2"]


@pytest.mark.parametrize("text", ["hello", "hell", ""])
async def test_of_equal_matches_the_newest_comes_first_and_the_limit_holds(store, record, text):
    for number in (2, 4, 1, 3):
        await store.keep(record(f"w1.{number}", timestamp=f"2026-01-0{number}"))
    assert await found(store, text, 3) == ["w1.4", "w1.3", "w1.2"]
    assert await found(store, text, 0) == []


OPERATORS = ['"', '""', "*", "hel*", "NEAR(", "NEAR(a b)", "-hello", "- hello", "a AND", "AND", "OR", "NOT x"]
OPERATORS += ["output:x", "(", "^say", "{a b}:c", "a + b", "'", ";--", "\\", "%", "_", "?1", ":a"]
AWKWARD = ["a\0b", "\0", "\udc80", "x" * 100_000, " ".join(f"w{number}" for number in range(10_000))]


@pytest.mark.parametrize("text", OPERATORS + AWKWARD)
async def test_nothing_in_the_text_is_an_operator(store, record, text):
    await store.keep(record("w1.1", prompt="p", output=f"before {text} after"))
    await store.keep(record("w1.2", prompt="p", output="something else"))
    assert await found(store, text) == ["w1.1"]


@pytest.mark.parametrize("text", OPERATORS + AWKWARD)
async def test_nothing_in_the_text_is_an_operator_for_logs(store, log, text):
    await store.keep(log(f"before {text} after"))
    await store.keep(log("something else", first=2))
    assert await found(store, text) == [1]


@given(st.text(st.characters()))
def test_every_word_is_quoted(text):
    query = as_words(text)
    assert "\0" not in query
    assert query.count('"') % 2 == 0


async def test_parts_of_words_are_found_where_no_whole_word_is(store, record):
    await store.keep(record("w1.1", output="raised KeyboardInterrupt"))
    assert await found(store, "boardinter") == ["w1.1"]


async def test_text_without_blanks_between_words_is_found(store, record):
    await store.keep(record("w1.1", output="これは長い文章です"))
    assert await found(store, "長い") == ["w1.1"]


async def test_what_comes_after_a_nul_is_found(store, record):
    await store.keep(record("w1.1", output="before\0beyond ==>"))
    assert await found(store, "beyond") == ["w1.1"]
    assert await found(store, "==>") == ["w1.1"]


@pytest.mark.parametrize("text", ["needle", "eedl", ""])
async def test_logs_come_after_results_and_the_limit_is_for_both(store, record, log, text):
    for number in (1, 2):
        await store.keep(log("a needle", first=number, created=f"2026-02-0{number}"))
        await store.keep(
            record(f"w1.{number}", output="one needle in much hay", timestamp=f"2026-01-0{number}")
        )
    assert await found(store, text) == ["w1.2", "w1.1", 2, 1]
    assert await found(store, text, 3) == ["w1.2", "w1.1", 2]
    assert await found(store, text, 2) == ["w1.2", "w1.1"]
    assert await found(store, text, 0) == []


async def test_the_log_that_matches_better_comes_first(store, log):
    await store.keep(log("parser", *["and other things"] * 50, first=1, created="2026-01-02"))
    await store.keep(log(*["parser"] * 10, first=60, created="2026-01-01"))
    assert await found(store, "parser") == [60, 1]


async def test_all_words_must_occur_in_one_batch_of_a_log(store, log):
    await store.keep(log("write a parser", "in rust", first=1))
    await store.keep(log("write a parser", "in python", first=3))
    assert await found(store, "rust parser") == [1]
    assert await found(store, "rust python") == []


async def test_parts_of_words_are_looked_for_only_where_neither_has_the_word(store, record, log):
    await store.keep(record("w1.1", output="raised KeyboardInterrupt"))
    await store.keep(log("Interrupt 7"))
    assert await found(store, "interrupt") == [1]
    assert await found(store, "boardinterrupt") == ["w1.1"]
    assert await found(store, "nterrupt") == ["w1.1", 1]
