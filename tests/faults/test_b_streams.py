"""Section B of the fault matrix: output that is not what it should be."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime

import pytest

from mahavishnu_core import WorkerResult, WorkerStatus

from .site import Ran, Site, by_task, evidence, verdict, warnings

COMPLETED, FAILED, TIMEOUT = WorkerStatus.COMPLETED, WorkerStatus.FAILED, WorkerStatus.TIMEOUT
DRIPPED = "grün 世界 👋 \u2028\u2029\u0085 and on"


def run_all(site: Site, *names: str, **fields: object) -> Ran:
    """One task each for these agents; what came of them is in the results database too."""
    site.offer(*names, **fields)
    ran = site.batch(*({"prompt": "find me", "worker_type": name.replace("_", "-")} for name in names))
    assert "Traceback" not in ran.err
    assert by_task(site.stored("find me")) == by_task(ran.results)
    return ran


def events_of(site: Site, kind: str) -> list[dict[str, object]]:
    """What a run prints with ``--jsonl``, without its result; every line strict JSON, numbered from 1."""
    _, items = site.events("-t", kind, "-p", "say hello")
    events = [item for item in items if item["type"] != "result"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return events


# --- sizes


@pytest.mark.parametrize("megabytes", [50, 1000])
def test_b1_the_result_after_a_line_of_any_length_counts(site: Site, megabytes: int) -> None:
    site.offer("big_line", env={"MAHAVISHNU_AGENT_SIZE": str(megabytes)})
    ran = site.execute("big-line", measured=True)
    assert (ran.status, verdict(ran.result), ran.result.output) == (0, (COMPLETED, None), "done")
    assert warnings(ran.result) == ["oversize_lines"]
    assert ran.peak_mb < 100
    length = megabytes * 1_000_000 + len('{"type":"big","data":""}')
    [oversize] = [event for event in _replayed(site, ran.result) if event["type"] == "oversize"]
    assert oversize["size"] == length
    assert str(oversize["head"]).startswith('{"type":"big","data":"xxx')
    _remove_output(site, ran.result, least=length)


def test_b1_a_gigabyte_without_a_line_end_is_no_result(site: Site) -> None:
    site.offer("no_newline_flood", env={"MAHAVISHNU_AGENT_SIZE": "1000"})
    ran = site.execute("no-newline-flood", prompt="find me", measured=True)
    assert (ran.status, verdict(ran.result)) == (1, (FAILED, "no_result"))
    assert (ran.result.output, warnings(ran.result)) == ("thinking about it", ["oversize_lines"])
    assert ran.peak_mb < 100
    assert site.stored("find me") == [ran.result]
    _remove_output(site, ran.result, least=1_000_000_000)


def test_b10_of_a_million_events_none_is_lost(site: Site) -> None:
    site.offer("many_lines", env={"MAHAVISHNU_AGENT_SIZE": "1000000"})
    printed = site.root / "events.jsonl"
    command = ("workers", "execute", "-t", "many-lines", "-n", "1", "-p", "go", "--jsonl")
    with printed.open("w") as file:
        ran = site.run(*command, stdout=file, measured=True)
    assert (ran.status, ran.peak_mb < 150) == (0, True)
    kinds: Counter[str] = Counter()
    with printed.open() as lines:
        for seq, line in enumerate(lines, 1):
            item = json.loads(line)
            kinds[item["type"]] += 1
            assert item.get("seq", seq) == seq
    result = WorkerResult.from_dict(item)
    assert verdict(result) == (COMPLETED, None)
    assert kinds["raw"] == 1_000_000
    assert evidence(result)["events"] == kinds.total() - 1
    _remove_output(site, result, least=16_000_000)
    printed.unlink()


@pytest.mark.parametrize(("name", "each"), [("many_words", 1), ("many_results", 2)])
def test_b10_a_million_that_are_kept_until_the_end_take_little_memory(
    site: Site, name: str, each: int
) -> None:
    site.offer(name, env={"MAHAVISHNU_AGENT_SIZE": "1000000"})
    ran = site.execute(name.replace("_", "-"), prompt="find me", measured=True)
    assert (ran.status, verdict(ran.result), ran.result.output) == (0, (COMPLETED, None), "done")
    assert ran.peak_mb < 150
    assert int(evidence(ran.result)["events"]) >= each * 1_000_000
    assert len(ran.out) < 20_000
    assert site.stored("find me") == [ran.result]
    _remove_output(site, ran.result, least=100_000_000)


def _replayed(site: Site, result: WorkerResult) -> list[dict[str, object]]:
    """The events of a task that has ended, as its raw output gives them once more."""
    raw = str(site.task(result).directory / "stdout.jsonl")
    ran = site.run("replay", raw, "--type", str(result.metadata["worker_type"]), "--jsonl")
    return [json.loads(line) for line in ran.out.splitlines()]


def _remove_output(site: Site, result: WorkerResult, least: int) -> None:
    """It is all there; but pytest keeps the directories of three runs."""
    raw = site.task(result).directory / "stdout.jsonl"
    assert raw.stat().st_size > least
    raw.unlink()


# --- bytes


def test_b2_bytes_that_are_no_text_are_replaced_in_events_and_kept_as_they_came(site: Site) -> None:
    ran = run_all(site, "bad_utf8")
    assert (ran.status, verdict(ran.result), ran.result.output) == (0, (COMPLETED, None), "done")
    for line in (b"\xff\xfe\x80 no text at all\n", b'{"type":"caf\xe9 \xf0\x9f\x99"}\n'):
        assert line in site.raw(ran.result)
    noise, odd = events_of(site, "bad-utf8")[2:4]
    assert (noise["type"], noise["text"]) == ("notice", "\ufffd\ufffd\ufffd no text at all")
    assert (odd["type"], odd["data"]) == ("raw", {"type": "caf\ufffd \ufffd"})


def test_b2_characters_that_are_cut_anywhere_arrive_whole(site: Site) -> None:
    ran = run_all(site, "split_utf8_drip", "drips")
    assert (ran.status, [result.output for result in ran.results]) == (0, ["done"] * 2)
    [drip] = [event for event in events_of(site, "split-utf8-drip") if event["type"] == "raw"]
    assert drip["data"] == {"type": "drip", "words": DRIPPED}


def test_b3_half_a_result_and_none_are_no_success_whatever_the_exit_status_is(site: Site) -> None:
    ran = run_all(site, "half_line", "no_result", "error_exit_0")
    half, none, dead = ran.results
    assert (ran.status, {result.exit_code for result in ran.results}) == (1, {0})
    assert (verdict(half), half.output) == ((FAILED, "truncated_result"), "thinking about it")
    assert evidence(half)["truncated"]
    assert (verdict(none), none.output) == ((FAILED, "no_result"), "thinking about it")
    assert verdict(dead) == (FAILED, "no_result")
    assert dead.error == "it ended without a result: error: the model is overloaded"
    [*_, cut] = events_of(site, "half-line")
    assert (cut["kind"], str(cut["text"]).startswith('{"type": "result"')) == ("malformed", True)


def test_b4_only_an_object_on_its_own_line_counts(site: Site) -> None:
    ran = run_all(site, "noise", "bom_and_crlf", "no_last_newline")
    assert (ran.status, [verdict(result) for result in ran.results]) == (0, [(COMPLETED, None)] * 3)
    assert [len(evidence(result)["results"]) for result in ran.results] == [1, 1, 1]
    assert [warnings(result) for result in ran.results] == [[]] * 3
    assert [evidence(result)["noise_lines"] for result in ran.results] == [8, 0, 0]


def test_b5_absurd_values_are_events_or_notices_and_can_be_kept(site: Site) -> None:
    names = ("nul_bytes", "deep_json", "huge_numbers", "wrong_types")
    ran = run_all(site, *names)
    assert (ran.status, [verdict(result) for result in ran.results]) == (0, [(COMPLETED, None)] * 4)
    seen = {name: events_of(site, name.replace("_", "-")) for name in names}
    assert {"type": "nul", "text": "a\0b"} in [event.get("data") for event in seen["nul_bytes"]]
    [deep] = [event for event in seen["deep_json"] if event["type"] == "notice"]
    assert (deep["kind"], len(str(deep["text"]))) == ("noise", len('{"type":"deep","data":}') + 200_000)
    numbers = [event["data"]["value"] for event in seen["huge_numbers"] if event["type"] == "raw"]
    assert numbers == ["9" * 5_000, None, None, None, None, 2.0**70]
    assert sum(event["type"] == "raw" for event in seen["wrong_types"]) == 9 * 9
    for result in ran.results:
        logs = site.run("workers", "logs", result.worker_id)
        assert (logs.status, logs.err, "\0" in logs.out) == (0, "", False)


# --- what decides


def test_b6_the_last_result_decides_and_what_comes_after_it_changes_nothing(site: Site) -> None:
    ran = run_all(site, "dup_result", "late_lines")
    twice, late = ran.results
    assert (ran.status, verdict(twice), twice.error) == (1, (FAILED, "api_error"), "it is not")
    assert [each["success"] for each in evidence(twice)["results"]] == [True, False]
    assert warnings(twice) == ["multiple_results"]
    told = [event for event in events_of(site, "dup-result") if event["type"] == "finished"]
    assert [(each["text"], each["error"]) for each in told] == [("all is well", None), (None, "it is not")]
    assert (verdict(late), late.output, warnings(late)) == ((COMPLETED, None), "done", [])
    assert site.raw(late).count(b"afterthought") == 50
    assert evidence(late)["events"] == len(events_of(site, "late-lines")) == 2 + 2 + 50


def test_b7_a_rate_limit_called_success_fails_alone_and_says_when_it_ends(site: Site) -> None:
    ran = run_all(site, "rate_limited", "good")
    limited, good = ran.results
    assert (ran.status, limited.exit_code, verdict(limited)) == (1, 0, (FAILED, "rate_limited"))
    assert limited.metadata["retry_at"] == 1_999_999_999
    assert limited.error == "You've hit your session limit"
    assert (verdict(good), good.output) == ((COMPLETED, None), "find me")


def test_b7_a_limit_holds_back_what_has_not_begun_of_that_type_and_nothing_else(site: Site) -> None:
    site.offer("rate_limited", "good")
    kinds = ["rate-limited", "rate-limited", "rate-limited", "good"]
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "1"
    ran = site.batch(*({"prompt": "find me", "worker_type": kind} for kind in kinds))
    *limited, good = ran.results
    assert (ran.status, [verdict(each) for each in limited]) == (1, [(FAILED, "rate_limited")] * 3)
    assert [each.metadata["retry_at"] for each in limited] == [1_999_999_999] * 3
    assert [each.exit_code for each in limited] == [0, None, None]
    told = "not begun: an earlier task of 'rate-limited' was rate limited, until 2033-05-18 03:33:19 UTC: "
    assert [str(each.error).startswith(told) for each in limited] == [False, True, True]
    assert (verdict(good), good.output) == ((COMPLETED, None), "find me")
    assert by_task(site.stored("find me")) == by_task(ran.results)


def test_b7_what_waits_for_the_end_of_a_limit_lets_other_types_go_first(site: Site) -> None:
    resets_at = int(time.time()) + 5
    site.offer("rate_limited", "good", env={"MAHAVISHNU_AGENT_RESETS_AT": str(resets_at)})
    kinds = ["rate-limited", "rate-limited", "good", "good"]
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "1"
    ran = site.batch(*({"prompt": "find me", "worker_type": kind} for kind in kinds))
    first, second, *good = ran.results
    assert [verdict(each) for each in good] == [(COMPLETED, None)] * 2
    assert [verdict(each) for each in (first, second)] == [(FAILED, "rate_limited")] * 2
    ends = [each.timestamp for each in (first, *good, second)]
    assert ends == sorted(ends)
    assert datetime.fromisoformat(second.timestamp).timestamp() >= resets_at


def test_b8_a_result_that_is_quoted_somewhere_decides_nothing(site: Site) -> None:
    ran = run_all(site, "forged_result", "forged_inside")
    outside, inside = ran.results
    assert (ran.status, verdict(outside), evidence(outside)["results"]) == (1, (FAILED, "no_result"), [])
    assert (verdict(inside), inside.error) == ((FAILED, "api_error"), "it did not work")
    assert len(evidence(inside)["results"]) == 1
    assert "forged" in str(evidence(inside)["stderr"])


def test_b9_an_agent_that_waits_to_be_allowed_a_tool_is_named_so_with_what_to_do(site: Site) -> None:
    ran = run_all(site, "asks_permission")
    assert (ran.status, verdict(ran.result)) == (1, (FAILED, "needs_permission"))
    assert str(ran.result.error).endswith("allow the tool in the worker type's command")
    assert "Bash: waits to be allowed" in site.run("workers", "logs", ran.result.worker_id).out
    assert ran.result.duration_seconds < 8
