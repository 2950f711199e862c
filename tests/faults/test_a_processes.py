"""Section A of the fault matrix: programs that misbehave as processes do."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.testing.processes import left_by_test

from .site import PATIENCE, Ran, Site, by_task, evidence, verdict, warnings
from .waiting import until

COMPLETED, FAILED = WorkerStatus.COMPLETED, WorkerStatus.FAILED
TIMEOUT, CANCELLED = WorkerStatus.TIMEOUT, WorkerStatus.CANCELLED
FLAT_MB = 100
"""Memory that a run may take, whatever its agents put out; one that is quiet takes 40."""
GO_AND_REMOVE = 'cd "$0" && rmdir "$0" && exec "$@"'
CANARY = "carried-out"
SHELL_CODE = f"$(touch {CANARY}) `touch {CANARY}`; touch {CANARY} & | touch {CANARY}\n'\" touch {CANARY}"
TEMPLATES = "{prompt} {{prompt}} {0} {} %s %(prompt)s $HOME ${HOME} {{ 7 * 7 }} \\n"
ODD_BYTES = bytes(range(256)) + b"\r\n\xed\xa0\x80\xf0\x9f\x99\n\n \xff"


def arrived(site: Site, result: WorkerResult) -> bytes:
    """The prompt as the agent ``good`` has read it."""
    *_, last = site.raw(result).splitlines()
    return json.loads(last)["result"].encode("utf-8", "surrogateescape")


def refused(ran: Ran, status: int) -> str:
    """The one line that a command says which begins nothing."""
    assert (ran.status, ran.out) == (status, "")
    [line] = ran.err.splitlines()
    return line.removeprefix("mahavishnu: ")


# --- what cannot be run


def test_a1_a_program_that_is_missing_or_may_not_be_run_is_named_before_anything_is_spawned(
    site: Site,
) -> None:
    plain = site.root / "plain"
    plain.write_text("#!/bin/sh\n")
    missing = site.root / "missing"
    site.settings({"missing": [str(missing)], "plain": [str(plain)]})
    said = refused(site.execute("missing"), 3)
    assert said.startswith(
        f"worker type 'missing' needs a program that is not there, '{missing}' is not inst"
    )
    assert said.endswith("install it with 'npm install -g @anthropic-ai/claude-code'")
    said = refused(site.execute("plain"), 3)
    assert said == f"worker type 'plain' cannot be used: '{plain}' may not be run: allow it with 'chmod +x'"
    assert site.run("workers", "list", "--all", "--json").out == "[]\n"


def test_a1_a_directory_that_is_gone_is_named_before_anything_is_spawned(site: Site) -> None:
    site.offer("good")
    gone = site.root / "gone"
    said = refused(site.execute("good", "--repo", str(gone)), 2)
    assert said == f"'{gone}' is not a directory: name an existing one with --repo"
    gone.mkdir()
    said = refused(site.execute("good", prefix=["sh", "-c", GO_AND_REMOVE, str(gone)]), 2)
    assert said == "the current directory is gone: change to one that is there"
    assert site.run("workers", "list", "--all", "--json").out == "[]\n"


@pytest.mark.parametrize("what", ["program", "directory"])
def test_a1_what_goes_missing_later_fails_the_task_alone(site: Site, what: str) -> None:
    program, directory = site.root / "program", site.root / "directory"
    program.symlink_to("/bin/true")
    directory.mkdir()
    site.settings({"late": [str(program)]})
    [worker] = json.loads(site.run("workers", "spawn", "-t", "late", "--repo", str(directory), "--json").out)
    program.unlink() if what == "program" else directory.rmdir()
    ran = site.run("workers", "execute", "--worker", worker, "-p", "find me", "--json")
    assert (ran.status, verdict(ran.result)) == (1, (FAILED, "spawn"))
    assert str({"program": program, "directory": directory}[what]) in str(ran.result.error)
    assert "Traceback" not in ran.err
    assert site.stored("find me") == [ran.result]


# --- prompts


def test_a2_prompts_that_look_like_something_else_arrive_as_they_are(site: Site) -> None:
    site.offer("good")
    prompts = ["--help", "- [ ] x", SHELL_CODE, TEMPLATES, "-", "@/etc/passwd", "~\t!! \x1b[2J \u2028 \u202e"]
    ran = site.batch(*({"prompt": prompt, "worker_type": "good"} for prompt in prompts))
    assert [result.output for result in ran.results] == prompts
    ran = site.execute("good", prompt="--version")
    assert ran.result.output == "--version"
    assert not list(site.root.rglob(CANARY))


def test_a2_a_prompt_of_a_megabyte_and_one_of_any_bytes_arrive_byte_for_byte(site: Site) -> None:
    site.offer("good")
    file = site.root / "prompt"
    for prompt in ("wörds and $words\n".encode() * 60_000, ODD_BYTES):
        file.write_bytes(prompt)
        ran = site.run("workers", "execute", "-t", "good", "-n", "1", "--prompt-file", str(file), "--json")
        assert (ran.status, ran.result.status) == (0, COMPLETED)
        assert arrived(site, ran.result) == prompt


def test_a3_an_agent_that_says_a_lot_before_it_reads_does_not_block(site: Site) -> None:
    site.offer("burst_before_stdin")
    ran = site.execute("burst-before-stdin", given="a long prompt " * 25_000)
    assert (ran.status, ran.result.status) == (0, COMPLETED)
    assert ran.seconds < 6
    assert site.raw(ran.result).count(b'{"type":"burst"}\n') == 60_000
    assert site.stored("a long prompt") == [ran.result]


def test_a4_an_agent_is_judged_by_its_result_whatever_it_does_with_its_prompt(site: Site) -> None:
    site.offer("never_reads_stdin", "closes_stdin", "waits_stdin_eof")
    kinds = ("never-reads-stdin", "closes-stdin", "waits-stdin-eof")
    ran = site.batch(*({"prompt": "a long prompt " * 25_000, "worker_type": kind} for kind in kinds))
    assert (ran.status, [result.status for result in ran.results]) == (0, [COMPLETED] * 3)
    assert [warnings(result) for result in ran.results] == [[]] * 3
    assert ran.seconds < 6, "the input has an end"
    assert len(site.stored("a long prompt")) == 3


# --- error output, and how programs end


def test_a5_a_flood_of_error_output_is_kept_whole_in_flat_memory(site: Site) -> None:
    site.offer("stderr_flood", env={"MAHAVISHNU_AGENT_SIZE": "100"})
    ran = site.execute("stderr-flood", measured=True)
    assert (ran.status, ran.result.status) == (0, COMPLETED)
    assert ran.peak_mb < FLAT_MB
    kept = site.task(ran.result).directory / "stderr.log"
    assert kept.stat().st_size == 100 * 2**20
    assert len(evidence(ran.result)["stderr"].splitlines()) == 20
    kept.unlink()  # pytest keeps the directories of three runs


def test_a5_of_a_death_of_which_only_error_output_tells_its_tail_is_the_message(site: Site) -> None:
    site.offer("stderr_only_death")
    ran = site.execute("stderr-only-death", prompt="find me")
    assert (ran.status, verdict(ran.result)) == (1, (FAILED, "exit_status"))
    assert ran.result.error == "exit status 3 without a result: fatal: no such model: sonata-9"
    assert "no such model: sonata-9" in site.run("workers", "results").out
    assert site.stored("find me") == [ran.result]


def test_a6_a_crash_or_a_bad_exit_status_after_success_fails_and_keeps_the_answer(site: Site) -> None:
    kinds = ("segv", "segv-after-result", "success-exit-1")
    site.offer(*(kind.replace("-", "_") for kind in kinds))
    ran = site.batch(*({"prompt": "find me", "worker_type": kind} for kind in kinds))
    early, late, bad = ran.results
    assert ran.status == 1
    assert (verdict(early), early.output) == ((FAILED, "signal"), "thinking about it")
    assert early.error == "ended by SIGSEGV"
    assert (verdict(late), late.output) == ((FAILED, "signal"), "done")
    assert "reports success, but its program was ended by SIGSEGV" in str(late.error)
    assert (verdict(bad), bad.output, bad.exit_code) == ((FAILED, "exit_status"), "done", 1)
    assert "has exit status 1: could not save the session" in str(bad.error)
    assert by_task(site.stored("find me")) == by_task(ran.results)


# --- what does not end


def test_a7_a_program_that_hangs_after_its_result_is_ended_after_its_grace(site: Site) -> None:
    site.offer("result_then_hang")
    ran = site.execute("result-then-hang", prompt="find me")
    assert (ran.status, verdict(ran.result), ran.result.output) == (0, (COMPLETED, None), "done")
    assert warnings(ran.result) == ["killed_after_result"]
    assert evidence(ran.result)["ended_by_us"] == "after_result"
    assert 10 <= ran.result.duration_seconds < 25
    assert site.stored("find me") == [ran.result]


def test_a7_one_that_nobody_follows_is_ended_by_whoever_looks_next(site: Site) -> None:
    """So is one that waits for a permission; one that has not said its last word is not."""
    site.offer("result_then_hang", "asks_permission", "silent_forever")
    kinds = ("result-then-hang", "asks-permission", "silent-forever")
    for kind in kinds:
        assert site.execute(kind, "--detach", prompt="find me").status == 0
    assert statuses(site) == dict.fromkeys(kinds, "running")
    ends = dict(zip(kinds, ("completed", "failed", "running"), strict=True))
    until(lambda: statuses(site) == ends, patience=30)
    found = {str(result.metadata["worker_type"]): result for result in site.stored("find me")}
    assert warnings(found["result-then-hang"]) == ["killed_after_result"]
    assert verdict(found["asks-permission"]) == (FAILED, "needs_permission")
    assert all(10 <= result.duration_seconds < 30 for result in found.values())
    assert site.run("workers", "close", "--all").status == 0


def statuses(site: Site) -> dict[str, str]:
    """Of the workers, by their types."""
    workers = json.loads(site.run("workers", "list", "--json").out)
    return {worker["worker_type"]: worker["status"] for worker in workers}


def test_a8_silence_that_nobody_follows_reaches_the_idle_limit(site: Site) -> None:
    site.offer("silent_forever", idle_seconds=2)
    assert site.execute("silent-forever", "--detach", prompt="find me").status == 0
    until(lambda: [*site.state.rglob("exit.json")])
    [found] = site.stored("find me")
    assert verdict(found) == (TIMEOUT, "idle")
    assert 2 <= found.duration_seconds < 6


def test_a8_silence_and_bytes_that_never_become_a_line_reach_the_idle_limit(site: Site) -> None:
    site.offer("silent_forever", "drip_forever", idle_seconds=2)
    ran = site.batch(
        *({"prompt": "find me", "worker_type": kind} for kind in ("silent-forever", "drip-forever"))
    )
    assert (ran.status, list(map(verdict, ran.results))) == (1, [(TIMEOUT, "idle")] * 2)
    assert all(2 <= result.duration_seconds < 6 for result in ran.results)
    _, dripping = ran.results
    assert len(site.raw(dripping)) > 10
    assert by_task(site.stored("find me")) == by_task(ran.results)


def test_a8_events_without_end_reach_the_wall_limit_and_not_the_idle_one(site: Site) -> None:
    site.offer("talks_forever", idle_seconds=1, timeout_seconds=3)
    ran = site.execute("talks-forever", prompt="find me")
    assert (ran.status, verdict(ran.result)) == (1, (TIMEOUT, "wall"))
    assert ran.result.error == "Task timed out after 3 s"
    assert 3 <= ran.result.duration_seconds < 8
    assert evidence(ran.result)["events"] == site.raw(ran.result).count(b"\n")
    assert site.stored("find me") == [ran.result]


def test_a9_families_that_do_not_want_to_end_are_killed_in_time_when_they_are_cancelled(site: Site) -> None:
    kinds = ("term-immune-family", "stops-itself", "floods-after-term")
    site.offer(*(kind.replace("-", "_") for kind in kinds))
    batch = site.work / "batch.json"
    batch.write_text(json.dumps([{"prompt": "find me", "worker_type": kind} for kind in kinds]))
    process = site.start("workers", "batch", str(batch), "--json")
    until(lambda: have_begun(site, len(kinds)) and one_is_stopped(site))
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - asked < 5 + 8, "the grace, and what a busy machine adds"
    assert "Traceback" not in err
    results = [WorkerResult.from_dict(result) for result in json.loads(out)]
    assert [result.metadata["worker_type"] for result in results] == list(kinds)
    assert [verdict(result) for result in results] == [(CANCELLED, "cancelled")] * 3
    assert [warnings(result) for result in results] == [[]] * 3, "nobody has survived"
    assert [evidence(result)["signal"] for result in results] == ["SIGKILL", "SIGTERM", "SIGKILL"]
    flooding = results[-1]
    assert site.raw(flooding).count(b"one more thing") == 2_000
    assert evidence(flooding)["results"], "it has even reported success by then"
    assert by_task(site.stored("find me")) == by_task(results)


def have_begun(site: Site, count: int) -> bool:
    outputs = site.state.glob("workers/*/tasks/*/stdout.jsonl")
    return sum(path.read_bytes().count(b"\n") >= 2 for path in outputs) == count


def one_is_stopped(site: Site) -> bool:
    stats = [Path(f"/proc/{process.pid}/stat").read_text() for process in left_by_test(site.root)]
    return any(stat.rpartition(") ")[2].startswith("T") for stat in stats)


# --- what is left behind


def test_a10_what_an_agent_leaves_behind_is_ended_and_named(site: Site) -> None:
    site.offer("pipe_heir", "hidden_daemon")
    for kind in ("pipe-heir", "hidden-daemon"):
        ran = site.execute(kind)
        assert (ran.status, ran.result.status) == (0, COMPLETED)
        assert warnings(ran.result) == ["strays_ended"]
        [stray] = evidence(ran.result)["strays"]
        assert stray.partition(" ")[2].startswith(("python", "sleep"))
        assert ran.seconds < 6, "judged at the exit, not at the end of the pipe"


def test_a10_fifty_children_are_ended_and_named_whether_their_parent_ends_or_not(site: Site) -> None:
    site.offer("pipe_heir", "fork_storm", env={"MAHAVISHNU_AGENT_SIZE": "50"}, timeout_seconds=3)
    ran = site.batch(*({"prompt": "find me", "worker_type": kind} for kind in ("pipe-heir", "fork-storm")))
    heirs, storm = ran.results
    assert (ran.status, verdict(heirs), verdict(storm)) == (1, (COMPLETED, None), (TIMEOUT, "wall"))
    assert len(set(evidence(heirs)["strays"])) == 50
    assert heirs.duration_seconds < 6
    assert [evidence(result)["survivors"] for result in ran.results] == [[], []]
    assert by_task(site.stored("find me")) == by_task(ran.results)


def test_a11_of_a_thousand_that_exit_at_once_there_are_a_thousand_results(site: Site) -> None:
    site.offer("exits_in_a_flash")
    ran = site.batch(*[{"prompt": "find me", "worker_type": "exits-in-a-flash"}] * 1000, measured=True)
    assert ran.status == 0
    assert [(verdict(result), result.output) for result in ran.results] == [
        ((COMPLETED, None), "done")
    ] * 1000
    assert ran.peak_mb < FLAT_MB
    assert by_task(site.stored("find me", most=2000)) == by_task(ran.results)


CLOSING = {
    "child-has-it": "sleep 60 & exec >&-; wait",
    "both-closed": "exec >&-; sleep 60 & wait",
}


def test_a11_one_that_closes_its_output_and_lives_is_ended_after_a_grace_without_any_limit(
    site: Site,
) -> None:
    site.offer("closes_stdout")
    ran = site.execute("closes-stdout", prompt="find me")
    assert (ran.status, verdict(ran.result)) == (1, (FAILED, "no_result"))
    assert str(ran.result.error).startswith("ended: it had closed its output, without a result, and went on")
    assert (evidence(ran.result)["ended_by_us"], evidence(ran.result)["results"]) == ("closed", [])
    assert ran.result.output == "thinking about it"
    assert 10 <= ran.result.duration_seconds < 18
    assert site.stored("find me") == [ran.result]


def test_a11_an_output_that_a_child_has_is_not_closed_and_a_shell_does_not_need_its_own(site: Site) -> None:
    shells = {name: ["sh", "-c", script] for name, script in CLOSING.items()}
    site.settings(shells, timeout_seconds=20)
    [child, closed] = [{"prompt": "go", "worker_type": name} for name in CLOSING]
    plain = {"prompt": "exec >&-; sleep 16", "worker_type": "shell"}
    ran = site.batch(child, closed, plain)
    expected = [(TIMEOUT, "wall"), (FAILED, "no_result"), (COMPLETED, None)]
    assert [verdict(result) for result in ran.results] == expected


def test_a12_the_doctor_names_programs_that_do_not_come_to_an_end_of_their_version(site: Site) -> None:
    scripts = {"hangs": "sleep 50 & sleep 50", "talks": "yes 1.2.3", "good": "echo 1.2.3"}
    for name, script in scripts.items():
        path = site.root / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    site.settings({name: [str(site.root / name)] for name in scripts})
    site.more["MAHAVISHNU_WORKER_DEFAULT_TYPE"] = "good"
    ran = site.run("doctor", "--json")
    checks = {check["subject"]: check for check in json.loads(ran.out)["checks"]}
    assert ran.status == 0
    assert ran.seconds < 5 + 6
    for name in ("hangs", "talks"):
        check = checks[f"type {name}"]
        assert check["grade"] == "warning"
        assert check["detail"] == f"{site.root / name} does not come to an end of '--version' within 5 s"
    assert checks["type good (default)"]["detail"] == f"{site.root / 'good'}, 1.2.3"
    assert checks["type shell"]["grade"] == "ok"
