"""What is sent for a result: within the limits of the server, for machines and people, without secrets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.models import LogBatch, Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_session_buddy.letter import MOST_BYTES, compose, compose_log
from mahavishnu_session_buddy.names import is_log, title_of, token_of

from .guard import screen

WORKER = Worker(
    "k3f9a2b1", WorkerType("terminal-claude", "claude"), Path("/home/me/api"), "2026-11-29T02:00:00+00:00"
)


def task(prompt: str = "Say hello", number: int = 1) -> Task:
    directory = Path(f"/state/k3f9a2b1.{number}")
    return Task(f"k3f9a2b1.{number}", "k3f9a2b1", prompt, 300, "session", False, "2026-11-29", directory)


def result(output: str | None = "hello", error: str | None = None, **changes: object) -> WorkerResult:
    fields = {
        "status": WorkerStatus.COMPLETED,
        "exit_code": 0,
        "duration_seconds": 1.23456789,
        "timestamp": "2026-11-29T02:08:03.259554+00:00",
    } | changes
    return WorkerResult("k3f9a2b1", output=output, error=error, **fields)


def letter(prompt: str = "Say hello", secrets: tuple[str, ...] = (), **fields: object):
    return compose(WORKER, task(prompt), result(**fields), secrets)


anything = st.text(st.characters(codec=None), max_size=300) | st.builds(
    lambda part, times: part * times,
    st.text(st.characters(codec=None), min_size=1, max_size=5),
    st.integers(1, 60_000),
)


def test_it_tells_what_happened_and_where_the_whole_is():
    assert letter().content.splitlines() == [
        "mahavishnu mv1_k3f9a2b1: completed",
        "terminal-claude, exit status 0, 1.2 s",
        "ended 2026-11-29T02:08:03.259554+00:00 in /home/me/api",
        "whole output: 'mahavishnu results show k3f9a2b1.1', 5 characters",
        "sha256 of the output: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "prompt: Say hello",
        "output: hello",
    ]


def test_a_failure_tells_its_reason_and_its_error():
    failed = letter(
        output=None,
        error="the model answered 401",
        status=WorkerStatus.FAILED,
        exit_code=1,
        metadata={"reason": "auth"},
    )
    assert failed.content.splitlines()[0] == "mahavishnu mv1_k3f9a2b1: failed (auth)"
    assert failed.content.splitlines()[-1] == "error: the model answered 401"
    assert {"status:failed", "reason:auth", "exit:1"} <= set(failed.tags)


def test_tags_hold_what_machines_want_to_know():
    assert letter().tags == (
        "mahavishnu",
        "mv1_k3f9a2b1",
        "worker:k3f9a2b1",
        "task:k3f9a2b1.1",
        "type:terminal-claude",
        "agent:claude",
        "status:completed",
        "exit:0",
        "repository:/home/me/api",
        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    )


def test_what_is_not_known_is_no_tag():
    assert not [tag for tag in letter(exit_code=None).tags if tag.startswith(("exit:", "reason:"))]


@pytest.mark.parametrize(
    ("one", "other"), [("k3f9a2b1.1", "k3f9a2b1.11"), ("k3f9a2b1.1", "k3f9a2b1.2"), ("a.12", "b.1")]
)
def test_no_token_is_a_part_of_another(one, other):
    assert token_of(one) not in token_of(other)
    assert token_of(other) not in token_of(one)


def test_a_token_is_one_word_for_the_servers_search():
    assert token_of("k3f9a2b1.7") == "mv7_k3f9a2b1"
    assert token_of("a-b.c.7") == "mv7_a_b_c"


@settings(max_examples=40, deadline=None)
@given(prompt=anything, output=anything, error=anything)
def test_whatever_is_in_it_the_server_takes_it_whole(prompt, output, error):
    made = letter(prompt, output=output, error=error)
    assert len(json.dumps(made.content, ensure_ascii=False).encode()) > 0
    assert len(made.content.encode()) <= MOST_BYTES
    assert made.content.startswith(title_of(made.token))
    assert "\0" not in made.content
    stored, _ = screen(made.content, list(made.tags))
    assert stored.startswith(title_of(made.token))


@pytest.mark.thorough
@settings(max_examples=40, deadline=None)
@given(output=anything)
def test_the_sum_is_that_of_the_whole_output(output):
    assert (
        f"sha256:{hashlib.sha256(output.encode('utf-8', 'replace')).hexdigest()}"
        in letter(output=output).tags
    )


def test_a_long_output_is_shown_from_both_ends():
    made = letter(output="first\n" + "x" * 1_000_000 + "\nlast")
    assert "output: first\nxxx" in made.content
    assert made.content.endswith("xxx\nlast")
    assert "[… the middle is left out …]" in made.content
    assert "1000011 characters" in made.content


def test_a_long_prompt_and_a_long_error_leave_room_for_the_output():
    made = letter("p" * 100_000, output="o" * 100_000, error="e" * 100_000)
    assert made.content.count("o") > 4_000


def test_text_is_cut_between_characters():
    made = letter(output="𝄞ä漢" * 10_000)
    assert "�" not in made.content


def test_a_lone_surrogate_and_a_nul_become_characters_that_can_be_sent():
    assert letter(output="a\ud800b\0c").content.endswith("output: a?b\u2400c")


def test_it_is_the_same_each_time():
    assert letter() == letter()


@pytest.mark.thorough
@settings(max_examples=40, deadline=None)
@given(before=anything, after=anything)
def test_a_known_secret_is_nowhere_in_it(before, after):
    secret = "correct-horse-battery"
    text = f"{before}{secret}{after}"
    made = letter(text, secrets=(secret,), output=text, error=text)
    assert secret not in made.content


def test_a_secret_in_a_path_or_a_type_is_not_in_its_tags():
    worker = Worker("k3f9a2b1", WORKER.type, Path("/home/me/correct-horse-battery"), WORKER.created)
    made = compose(worker, task(), result(), ("correct-horse-battery",))
    assert "repository:/home/me/[redacted]" in made.tags
    assert "correct-horse" not in made.content


def test_times_sums_and_ids_survive_the_guard_of_the_server():
    made = letter(output="call 0123456789 now")
    stored, tags = screen(made.content, list(made.tags))
    assert stored == made.content.replace("0123456789", "[REDACTED-PHONE]")
    assert tags == list(made.tags)


# --- lines of a log

CREATED = "2026-11-29T02:08:03.259554+00:00"
lines = st.lists(st.text(st.characters(codec=None), max_size=50) | st.just("x" * 5_000), min_size=1)


def log(*texts: str, first: int = 1, secrets: tuple[str, ...] = ()):
    return list(compose_log(WORKER, LogBatch(first, texts, CREATED), secrets).items())


def test_lines_of_a_log_are_sent_with_their_numbers():
    ((name, made),) = log("starting", "ready", first=41)
    assert name == "k3f9a2b1.log.41"
    assert made.content.splitlines() == [
        f"mahavishnu ml41_k3f9a2b1: lines 41 to 42 of worker k3f9a2b1, terminal-claude, {CREATED}",
        "41: starting",
        "42: ready",
    ]
    assert made.tags == (
        "mahavishnu",
        "ml41_k3f9a2b1",
        "worker:k3f9a2b1",
        "type:terminal-claude",
        "lines:41-42",
    )


@settings(max_examples=40, deadline=None)
@given(texts=lines)
def test_lines_are_spread_over_as_many_letters_as_they_need(texts):
    letters = [made for _, made in log(*texts, first=7)]
    assert all(len(made.content.encode()) <= MOST_BYTES for made in letters)
    numbers = [line.partition(":")[0] for made in letters for line in made.content.splitlines()[1:]]
    assert numbers == [str(number) for number in range(7, 7 + len(texts))]
    assert len({made.token for made in letters}) == len(letters)


def test_a_line_cannot_pretend_to_be_several():
    ((_, made),) = log("one\n2: forged\r3: forged\u20284: forged")
    assert made.content.splitlines()[1:] == ["1: one 2: forged 3: forged 4: forged"]


def test_a_known_secret_is_in_no_line():
    ((_, made),) = log("the key is correct-horse", secrets=("correct-horse",))
    assert made.content.endswith("1: the key is [redacted]")


def test_names_of_logs_and_of_tasks_are_told_apart():
    ((name, _),) = log("x")
    assert (is_log(name), is_log("k3f9a2b1.1")) == (True, False)
    assert token_of(name) not in {token_of("k3f9a2b1.1"), token_of("k3f9a2b1.11")}


def test_a_key_over_several_lines_is_in_none_of_them():
    key = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkq", "hkiG9w0BAQ==", "-----END PRIVATE KEY-----"]
    ((_, made),) = log("before", *key, "after")
    assert made.content.splitlines()[1:] == [
        "1: before",
        "2: [redacted]",
        "3: ",
        "4: ",
        "5: ",
        "6: after",
    ]
