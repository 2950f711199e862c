"""The verdict: from what was seen of a task to its status, its reason, and the evidence."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import attrs
import pytest

from mahavishnu_core import Exit, Task, Worker, WorkerStatus, WorkerType
from mahavishnu_core.events import Event, Finished, Notice, Raw, Started, Text, Tokens, ToolResult, Usage
from mahavishnu_core.tally import Tally
from mahavishnu_core.verdict import Seen, Verdict, judge, result_of

GOOD = Finished(success=True, text="the answer")
BAD = Finished(success=False, error="no credit", reason="api_error")
CLEAN = Exit(exit_code=0)
FAILED, COMPLETED = WorkerStatus.FAILED, WorkerStatus.COMPLETED
TIMEOUT, CANCELLED = WorkerStatus.TIMEOUT, WorkerStatus.CANCELLED


def seen(*events: Event, exit: Exit = CLEAN, stderr: str = "", is_truncated: bool = False) -> Seen:
    tally = Tally()
    tally.add(events)
    return Seen(tally, exit, stderr, is_truncated)


def verdict(*events: Event, exit: Exit = CLEAN, stderr: str = "", is_truncated: bool = False) -> Verdict:
    return judge(seen(*events, exit=exit, stderr=stderr, is_truncated=is_truncated), timeout_seconds=60)


@pytest.mark.parametrize(
    ("events", "exit", "status", "reason"),
    [
        ([GOOD], CLEAN, COMPLETED, None),
        ([GOOD], Exit(exit_code=1), FAILED, "exit_status"),
        ([GOOD], Exit(signal="SIGSEGV"), FAILED, "signal"),
        ([BAD], CLEAN, FAILED, "api_error"),
        ([BAD], Exit(exit_code=1), FAILED, "api_error"),
        ([Finished(success=False)], CLEAN, FAILED, "agent_error"),
        ([GOOD, BAD], CLEAN, FAILED, "api_error"),
        ([BAD, GOOD], CLEAN, COMPLETED, None),
        ([], CLEAN, FAILED, "no_result"),
        ([Text("words")], CLEAN, FAILED, "no_result"),
        ([], Exit(exit_code=3), FAILED, "exit_status"),
        ([], Exit(signal="SIGKILL"), FAILED, "signal"),
        ([], Exit(error="No such file: x"), FAILED, "spawn"),
        ([], Exit(), FAILED, "no_result"),
        ([], Exit(signal="SIGTERM", cause="wall"), TIMEOUT, "wall"),
        ([BAD], Exit(signal="SIGTERM", cause="wall"), TIMEOUT, "wall"),
        ([], Exit(signal="SIGTERM", cause="idle"), TIMEOUT, "idle"),
        ([], Exit(signal="SIGTERM", cause="output_limit"), FAILED, "output_limit"),
        (
            [Notice("permission_request", "Bash")],
            Exit(signal="SIGTERM", cause="wall"),
            TIMEOUT,
            "needs_permission",
        ),
        (
            [Notice("permission_request", "Bash")],
            Exit(signal="SIGTERM", cause="idle"),
            TIMEOUT,
            "needs_permission",
        ),
        (
            [Notice("permission_request", "Bash")],
            Exit(signal="SIGTERM", cause="permission"),
            FAILED,
            "needs_permission",
        ),
        ([], Exit(signal="SIGTERM", cause="cancelled"), CANCELLED, "cancelled"),
        ([GOOD], Exit(signal="SIGTERM", cause="cancelled"), CANCELLED, "cancelled"),
        ([GOOD], Exit(exit_code=0, cause="cancelled"), COMPLETED, None),
        ([BAD], Exit(signal="SIGTERM", cause="after_result"), FAILED, "api_error"),
    ],
)
def test_status_and_reason(events: list[Event], exit: Exit, status: WorkerStatus, reason: str | None) -> None:
    found = verdict(*events, exit=exit)
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize("cause", ["wall", "idle", "after_result"])
def test_a_command_ended_after_its_good_result_has_completed_with_a_warning(cause: str) -> None:
    found = verdict(GOOD, exit=Exit(signal="SIGKILL", cause=cause))  # type: ignore[arg-type]
    assert (found.status, found.warnings) == (COMPLETED, ("killed_after_result",))


@pytest.mark.parametrize(
    ("cause", "status"), [("wall", TIMEOUT), ("idle", TIMEOUT), ("cancelled", CANCELLED)]
)
def test_an_answer_that_came_after_we_asked_for_the_end_does_not_count(
    cause: str, status: WorkerStatus
) -> None:
    late = attrs.evolve(seen(GOOD, exit=Exit(exit_code=0, cause=cause)), results_in_time=0)  # type: ignore[arg-type]
    assert judge(late, 60).status is status


def test_success_whose_exit_nobody_saw_is_said_so() -> None:
    found = verdict(GOOD, exit=Exit())
    assert (found.status, found.warnings) == (COMPLETED, ("exit_unknown",))


def test_several_results_are_said_and_all_kept() -> None:
    both = seen(GOOD, BAD)
    assert judge(both, 60).warnings == ("multiple_results",)
    evidence = result_of(WORKER, TASK, both).metadata["evidence"]
    assert [result["success"] for result in evidence["results"]] == [True, False]  # type: ignore[index,call-overload]


def test_of_results_without_end_the_first_and_the_last_are_kept_and_how_many_are_not() -> None:
    many = [Finished(success=False, text="t" * 10_000, error="e" * 10_000, reason="x")] * 500
    found = seen(BAD, *many, GOOD)
    assert sum(len(f"{each.text}{each.error}") for each in found.tally.finished) < 600_000
    result = result_of(WORKER, TASK, found)
    evidence = result.metadata["evidence"]
    assert (result.output, evidence["results_left_out"]) == ("the answer", 402)
    assert (evidence["results"][0]["error"], evidence["results"][-1]["success"]) == ("no credit", True)
    assert len(evidence["results"]) == 100


def test_strays_and_survivors_are_said() -> None:
    found = verdict(GOOD, exit=Exit(exit_code=0, strays=("7 sleep",), survivors=("8 D",)))
    assert found.warnings == ("strays_ended", "survivors")


def test_output_cut_in_the_middle_of_a_line_is_named() -> None:
    assert verdict(is_truncated=True).reason == "truncated_result"


def test_a_failure_without_a_result_quotes_the_last_words_on_stderr() -> None:
    assert "out of memory" in str(verdict(exit=Exit(exit_code=9), stderr="x\nout of memory\n").error)


def test_success_against_a_bad_exit_shows_both() -> None:
    result = result_of(WORKER, TASK, seen(GOOD, exit=Exit(exit_code=4), stderr="went wrong"))
    assert result.output == "the answer"
    assert result.error == "the agent reports success, but its program has exit status 4: went wrong"


def test_a_stream_without_result_gives_what_was_said() -> None:
    result = result_of(
        WORKER, TASK, seen(Text("one"), Text("tw", partial=True), Text("two"), Text("sub", parent="x"))
    )
    assert result.output == "one\n\ntwo"


def test_an_answer_ended_in_the_middle_gives_what_had_come_of_it() -> None:
    events = [Text("first"), Text("sec", partial=True), Text("ond", partial=True)]
    assert result_of(WORKER, TASK, seen(*events)).output == "first\n\nsecond"


def test_thousands_of_short_texts_are_one_text_and_take_little_more_memory_than_it() -> None:
    words = [f"{number:x}" for number in range(5_000)]
    tally = Tally()
    tracemalloc.start()
    tally.add(Text(word, partial=True) for word in words)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tally.text == "".join(words)
    assert taken < 100_000
    tally.add([Text("whole"), *(Text(word) for word in words), Text("piece", partial=True)])
    assert tally.text == "\n\n".join(["whole", *words, "piece"])


def test_what_was_said_before_a_retry_is_not_said_twice() -> None:
    events = [Text("sec", partial=True), Notice("retry", "1 of 2"), Text("sec", partial=True)]
    assert result_of(WORKER, TASK, seen(*events)).output == "sec"
    assert result_of(WORKER, TASK, seen(*events[:2])).output == "sec"


def test_what_was_used_is_in_the_result() -> None:
    events = [
        Started("a-session", model="a-model"),
        Usage(Tokens(input=10, output=2, cache_read=3), cost_usd=0.25),
        Finished(success=True, text="ok", turns=4),
    ]
    metadata = result_of(WORKER, TASK, seen(*events)).metadata
    assert metadata["session_id"] == "a-session"
    assert metadata["model"] == "a-model"
    assert metadata["usage"] == {
        "input_tokens": 10,
        "output_tokens": 2,
        "cache_read_tokens": 3,
        "cache_write_tokens": 0,
    }
    assert (metadata["cost_usd"], metadata["cost_origin"], metadata["turns"]) == (0.25, "reported", 4)


def test_an_unknown_cost_is_never_zero() -> None:
    metadata = result_of(WORKER, TASK, seen(Usage(Tokens(5, 5)), GOOD)).metadata
    assert (metadata["cost_usd"], metadata["cost_origin"]) == (None, "unknown")


@pytest.mark.parametrize(
    "notices",
    [
        [Notice("rate_limit_near", "80% is used", retry_at=2e9)],
        [Notice("rate_limit", "reached", retry_at=2e9), Notice("rate_limit", "another is reached")],
    ],
    ids=["only near", "another one"],
)
def test_the_end_of_a_limit_that_was_not_met_is_not_told(notices: list[Notice]) -> None:
    limited = Finished(success=False, error="limit reached", reason="rate_limited")
    metadata = result_of(WORKER, TASK, seen(*notices, limited)).metadata
    assert (metadata["reason"], metadata["retry_at"]) == ("rate_limited", None)


def test_a_rate_limit_says_when_to_come_back() -> None:
    limited = Finished(success=False, error="limit reached", reason="rate_limited")
    metadata = result_of(WORKER, TASK, seen(Notice("rate_limit", "limit", retry_at=2e9), limited)).metadata
    assert (metadata["reason"], metadata["retry_at"]) == ("rate_limited", 2e9)


def test_secret_values_are_taken_out_of_all_texts() -> None:
    events = Finished(success=False, text="key is s3cr3t-value", error="bad s3cr3t-value")
    result = result_of(WORKER, TASK, seen(events, stderr="s3cr3t-value"), ("s3cr3t-value",))
    assert "s3cr3t-value" not in str(result.to_dict())
    assert result.error == "bad [redacted]"


WORKER = Worker("worker", WorkerType("type", "agent"), Path("/"), "now")
TASK = Task("worker.1", "worker", "prompt", 60, "session", resume=False, created="now", directory=Path("/"))


@pytest.mark.parametrize(
    "answer", [ToolResult("c", "done"), Raw({"type": "control_cancel_request"}), Text("so")]
)
def test_a_request_for_a_permission_waits_until_anything_comes(answer: Event) -> None:
    tally = Tally()
    tally.add([Notice("permission_request", "Bash")])
    assert tally.awaits_permission
    tally.add([answer])
    assert not tally.awaits_permission
