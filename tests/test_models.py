"""The records that pass between core and plugins, as their users know them."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.keeper.kept import signal_name
from mahavishnu_core.models import Exit, Worker, WorkerType, utc_now

SEVEN = ["pending", "starting", "running", "completed", "failed", "timeout", "cancelled"]


def test_there_are_seven_statuses():
    assert [status.value for status in WorkerStatus] == SEVEN
    assert [status.name for status in WorkerStatus] == [value.upper() for value in SEVEN]


def test_the_last_four_are_final():
    assert [status.value for status in WorkerStatus if status.is_final] == SEVEN[3:]


def test_a_result_needs_a_worker_and_a_status_and_nothing_else():
    result = WorkerResult("w1", WorkerStatus.RUNNING)
    assert (result.output, result.error, result.exit_code) == (None, None, None)
    assert (result.duration_seconds, result.metadata) == (0.0, {})


def test_a_results_timestamp_is_the_present_in_utc():
    stamp = datetime.fromisoformat(WorkerResult("w1", WorkerStatus.COMPLETED).timestamp)
    assert stamp.utcoffset() == timedelta(0)
    assert abs(datetime.now(stamp.tzinfo) - stamp) < timedelta(minutes=1)
    assert utc_now() > stamp.isoformat()


@pytest.mark.parametrize("status", WorkerStatus)
def test_only_a_completed_result_is_a_success(status):
    assert WorkerResult("w1", status).is_success() is (status is WorkerStatus.COMPLETED)


@pytest.mark.parametrize(("output", "has"), [(None, False), ("", False), ("text", True), (" ", True)])
def test_a_result_has_output_when_it_is_not_empty(output, has):
    assert WorkerResult("w1", WorkerStatus.FAILED, output=output).has_output() is has


def test_to_dict_has_eight_keys_and_the_statuss_value():
    result = WorkerResult(
        "w1", WorkerStatus.TIMEOUT, "out", "err", 3, 1.5, {"a": 1}, "2026-01-01T00:00:00+00:00"
    )
    assert result.to_dict() == {
        "worker_id": "w1",
        "status": "timeout",
        "output": "out",
        "error": "err",
        "exit_code": 3,
        "duration_seconds": 1.5,
        "metadata": {"a": 1},
        "timestamp": "2026-01-01T00:00:00+00:00",
    }


def test_from_dict_takes_the_least_there_can_be():
    result = WorkerResult.from_dict({"worker_id": "w1", "status": "failed"})
    assert result == WorkerResult("w1", WorkerStatus.FAILED, timestamp="")


def test_from_dict_gives_the_status_as_one_and_the_output_as_it_was():
    result = WorkerResult.from_dict({"worker_id": "w1", "status": "completed", "output": "two\nlines"})
    assert result.status is WorkerStatus.COMPLETED
    assert result.output == "two\nlines"


def test_from_dict_without_a_worker_is_a_key_error():
    with pytest.raises(KeyError, match="worker_id"):
        WorkerResult.from_dict({"status": "failed"})


@pytest.mark.parametrize(
    "status", [{}, {"status": "done"}, {"status": None}, {"status": "COMPLETED"}], ids=str
)
def test_from_dict_with_a_status_that_is_none_of_the_seven_is_a_value_error(status):
    with pytest.raises(ValueError, match="is not a valid WorkerStatus"):
        WorkerResult.from_dict({"worker_id": "w1", **status})


def test_from_dict_passes_over_what_a_later_version_added():
    assert WorkerResult.from_dict({"worker_id": "w1", "status": "failed", "mood": "good"}).worker_id == "w1"


RESULTS = st.builds(
    WorkerResult,
    worker_id=st.text(),
    status=st.sampled_from(WorkerStatus),
    output=st.none() | st.text(),
    error=st.none() | st.text(),
    exit_code=st.none() | st.integers(),
    duration_seconds=st.floats(allow_nan=False),
    metadata=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())),
    timestamp=st.text(),
)


@given(RESULTS)
def test_a_result_is_the_same_after_a_round_trip(result):
    assert WorkerResult.from_dict(result.to_dict()) == result


@given(RESULTS)
def test_a_summary_is_one_line_that_names_the_worker(result):
    summary = attrs.evolve(result, worker_id="w1").get_summary()
    assert len(summary.splitlines()) == 1
    assert " w1: " in summary or summary.endswith(" w1: ")


@pytest.mark.parametrize(
    ("status", "emoji"),
    list(zip(WorkerStatus, ["⏳", "🔄", "🔄", "✅", "❌", "⏱️", "🚫"], strict=True)),
)
def test_each_status_has_its_emoji_in_a_summary(status, emoji):
    assert WorkerResult("w1", status).get_summary().startswith(f"{emoji} w1: ")


def test_the_summary_of_a_success_is_the_beginning_of_its_output():
    short, long = "x" * 50, "y" * 51
    assert WorkerResult("w1", WorkerStatus.COMPLETED, short).get_summary() == f"✅ w1: {short}"
    assert WorkerResult("w1", WorkerStatus.COMPLETED, long).get_summary() == f"✅ w1: {'y' * 50}..."


def test_the_summary_of_a_failure_is_its_error_or_says_that_none_is_known():
    assert WorkerResult("w1", WorkerStatus.FAILED, "out", "bad luck").get_summary() == "❌ w1: bad luck"
    assert WorkerResult("w1", WorkerStatus.FAILED, "out").get_summary() == "❌ w1: Unknown error"


def test_records_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        WorkerResult("w1", WorkerStatus.FAILED).status = WorkerStatus.COMPLETED


@pytest.mark.parametrize(
    ("ended", "clean", "known"),
    [
        (Exit(exit_code=0), True, True),
        (Exit(exit_code=1), False, True),
        (Exit(signal="SIGKILL"), False, True),
        (Exit(error="not started"), False, True),
        (Exit(cause="wall"), False, False),
        (Exit(), False, False),
    ],
)
def test_an_exit_says_whether_it_was_clean_and_whether_it_is_known(ended, clean, known):
    assert (ended.is_clean, ended.is_known) == (clean, known)


def test_the_values_of_an_environment_are_in_no_representation():
    kind = WorkerType("x", "shell", env={"TOKEN": "canary"})
    assert "canary" not in repr(kind)
    assert "canary" not in repr(Worker("w1", kind, None, ""))


def test_a_signal_is_named_and_one_without_a_name_is_numbered():
    assert signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert signal_name(99) == "signal 99"


def test_a_summary_is_one_line_that_no_terminal_obeys() -> None:
    result = WorkerResult("w1", WorkerStatus.FAILED, error="bad\n\x1b[2J luck")
    assert result.get_summary() == "❌ w1: bad \\x1b[2J luck"
