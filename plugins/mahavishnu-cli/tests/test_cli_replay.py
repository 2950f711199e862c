"""``replay``: recorded runs shown once more, and files that are no recordings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mahavishnu_core.events import (
    Finished,
    Notice,
    Started,
    TaskEvent,
    Text,
    Tokens,
    ToolCall,
    Usage,
    to_dict,
)
from mahavishnu_core.stream import fields

PROGRAM = Path(sys.executable).with_name("mahavishnu")
SAMPLES = Path(__file__).parents[2]
QWEN = SAMPLES / "mahavishnu-qwen/mahavishnu_qwen/samples"
CLAUDE = SAMPLES / "mahavishnu-claude/mahavishnu_claude/samples"


def events(worker, *items):
    return [to_dict(TaskEvent(worker, f"{worker}.1", seq, item)) for seq, item in enumerate(items, 1)]


GOOD = events(
    "ada",
    Started("s", "model"),
    Text("I look "),
    ToolCall("1", "Bash", {"command": "ls -l"}),
    Usage(Tokens(1000, 200), cost_usd=0.25),
    Text("All is there."),
    Finished(True, text="All is there."),
)
BAD = events(
    "bob", Notice("retry", "the server is busy"), Finished(False, error="no money", reason="max_budget")
)
OPEN = events("eve", Text("one"), Text("two"))
RESULT = {
    "type": "result",
    "worker_id": "ada",
    "status": "timeout",
    "output": None,
    "error": "Task timed out after 30 s",
    "exit_code": None,
    "duration_seconds": 30.5,
    "metadata": {"task_id": "ada.1", "worker_type": "terminal-ada", "reason": "wall"},
    "timestamp": "2026-11-28T00:00:00+00:00",
}


def record(home, *lines, name="run.jsonl"):
    """A file of these lines: objects, or bytes as they are."""
    path = home.work / name
    parts = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
    path.write_bytes(b"".join(parts))
    return path


def test_a_run_is_replayed_as_it_was(home):
    told = home.execute("echo one; echo two; exit 3", "--jsonl")
    ran = home.run("replay", record(home, told.out.encode()))
    assert ran.status == told.status == 1
    assert "shell  failed (exit_status) in " in ran.out
    assert ran.out.endswith("0 successful, 1 failed\n")
    assert ran.err == told.err


def test_json_lines_come_out_as_they_went_in(home):
    told = home.execute("echo one; echo two", "--jsonl")
    ran = home.run("replay", record(home, told.out.encode()), "--jsonl")
    assert (ran.status, ran.out) == (0, told.out)


def test_it_starts_nothing_and_needs_no_state_directory(home):
    ran = home.run("replay", record(home, *GOOD))
    assert ran.status == 0
    assert not home.state.exists()


def test_several_workers_are_told_as_plain_lines_where_there_is_no_terminal(home):
    mixed = [line for both in zip(GOOD, [*BAD, *OPEN, *OPEN], strict=True) for line in both]
    ran = home.run("replay", record(home, *mixed[:8]))
    assert ran.err.splitlines() == [
        "ada running",
        "bob running",
        "bob retry: the server is busy",
        "bob failed (max_budget): no money",
        "ada tool Bash ls -l",
        "eve running",
        "ada failed (no_result): it ended unseen, without a result: its exit status is unkno…",
        "eve failed (no_result): it ended unseen, without a result: its exit status is unkno…",
    ]


def test_a_result_in_the_file_is_believed_more_than_the_events(home):
    ran = home.run("replay", record(home, *GOOD, RESULT))
    assert ran.status == 1
    head = "=== ada.1  terminal-ada  timeout (wall) in 30.5 s ==="
    assert f"{head}\nerror: Task timed out after 30 s" in ran.out


def test_without_a_result_the_events_say_what_a_task_came_to(home):
    ran = home.run("replay", record(home, *GOOD, *BAD, *OPEN), "--json")
    ada, bob, eve = ran.json
    assert ran.status == 1
    assert (ada["status"], ada["output"], ada["metadata"]["cost_usd"]) == ("completed", "All is there.", 0.25)
    assert ada["metadata"]["usage"]["input_tokens"] == 1000
    assert ada["metadata"]["warnings"] == ["exit_unknown"]
    assert (bob["status"], bob["error"], bob["metadata"]["reason"]) == ("failed", "no money", "max_budget")
    assert (eve["status"], eve["output"], eve["metadata"]["reason"]) == ("failed", "one\n\ntwo", "no_result")


def test_a_task_that_never_began_is_in_the_results(home):
    refused = RESULT | {"worker_id": "zoe", "status": "failed", "metadata": {"reason": "refused"}}
    ran = home.run("replay", record(home, *GOOD, refused))
    assert "zoe failed (refused)" in ran.err
    assert ran.out.endswith("1 successful, 1 failed\n")


def test_a_recording_is_read_from_standard_input(home):
    told = "".join(json.dumps(line) + "\n" for line in GOOD)
    ran = home.script("replay", "-", given=told)
    assert (ran.status, "1 successful, 0 failed" in ran.out) == (0, True)


def test_secrets_and_control_characters_do_not_come_out(home, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2-hunter2")
    words = "\x1b]0;owned\x07 hunter2-hunter2"
    path = record(home, *events("ada", ToolCall("1", words, words), Finished(True, text=words)))
    for style in ([], ["--json"], ["--jsonl"]):
        ran = home.run("replay", path, *style)
        assert "hunter2" not in ran.out + ran.err
        assert "\x1b" not in ran.out + ran.err


# --- an agent's own output


@pytest.mark.parametrize(
    ("sample", "kind"), [(QWEN / "hello.jsonl", "terminal-qwen"), (CLAUDE / "hello.jsonl", "terminal-claude")]
)
def test_whose_output_it_is_is_found_out_and_said(home, sample, kind):
    ran = home.run("replay", sample, "--json")
    assert f"this looks like the output of {kind!r}; --type says otherwise" in ran.err
    (result,) = ran.json
    assert (ran.status, result["status"], result["metadata"]["worker_type"]) == (0, "completed", kind)


@pytest.mark.thorough
def test_the_guess_is_right_for_every_sample_in_which_an_agent_names_itself(home):
    wrong = []
    for directory in (QWEN, CLAUDE):
        for sample in sorted(directory.glob("*.jsonl")):
            if b'"subtype":"init"' in sample.read_bytes():
                ran = home.run("replay", sample, "--json")
                kind = ran.json[0]["metadata"]["worker_type"]
                wrong += [] if kind.removeprefix("terminal-") in str(sample) else [sample.name]
    assert wrong == []


@pytest.mark.parametrize("agent", ["qwen", "claude"])
def test_whose_output_it_is_is_seen_in_its_first_lines(home, agent, monkeypatch):
    """Whatever follows is read once, by the agent that it is of."""
    sample = (SAMPLES / f"mahavishnu-{agent}/mahavishnu_{agent}/samples/hello.jsonl").read_bytes()
    first, *middle, last = sample.splitlines(keepends=True)
    long = record(home, first, *middle * 400, last)
    heads = []
    monkeypatch.setattr("mahavishnu_cli.commands.replay.guess", _noting(heads))
    ran = home.run("replay", long, "--json")
    assert f"this looks like the output of 'terminal-{agent}'" in ran.err
    assert (ran.json[0]["status"], ran.json[0]["metadata"]["evidence"]["noise_lines"]) == ("completed", 0)
    assert [head.count(b"\n") for head in heads] == [300]


def _noting(heads):
    from mahavishnu_cli.raw_output import guess

    def note(host, kinds, head, *, is_whole):
        heads.append(head)
        return guess(host, kinds, head, is_whole=is_whole)

    return note


@pytest.mark.thorough
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "raw"])
def test_memory_is_a_small_multiple_of_the_file(home, recorded):
    first, *middle, last = (CLAUDE / "partials.jsonl").read_bytes().splitlines(keepends=True)
    if recorded:
        path = record(home, *GOOD[:1], b"".join(json.dumps(OPEN[0]).encode() + b"\n" for _ in range(1 << 17)))
    else:
        path = record(home, first, b"".join(middle) * (12_000_000 // sum(map(len, middle))), last)
    size = path.stat().st_size
    assert size > 10_000_000
    small, large = _memory("replay", record(home, *GOOD, name="small")), _memory("replay", path)
    assert large - small < 3 * size


def _memory(*arguments):
    """What the program took at its peak, in bytes."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    command = [sys.executable, "-c", code, str(PROGRAM), *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


def test_the_type_says_whose_output_it_is(home):
    ran = home.run("replay", record(home, b"one\ntwo\n"), "--type", "shell", "--jsonl")
    assert ran.status == 0
    assert [fields.text(line, "text") for line in ran.json_lines[:2]] == ["one", "two"]
    assert "this looks like" not in ran.err


def test_raw_output_that_is_cut_is_shown_as_far_as_it_goes(home):
    whole = (CLAUDE / "hello.jsonl").read_bytes()
    ran = home.run("replay", record(home, whole[: len(whole) * 3 // 4]))
    assert ran.status == 1
    assert "mahavishnu: 'run.jsonl': it ends in the middle of a line\n" in ran.err.replace(
        f"{home.work}/", ""
    )


# --- bad input


def one_line_and_2(home, *arguments):
    ran = home.run("replay", *arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("mahavishnu: ")
    return ran.err


def test_a_file_that_is_not_there_is_told(home):
    assert "'nowhere' cannot be read: No such file or directory" in one_line_and_2(home, "nowhere")


def test_a_directory_is_no_recording(home):
    assert "cannot be read: Is a directory" in one_line_and_2(home, home.work)


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_an_empty_file_is_told(home, content):
    assert "is empty: record a run with" in one_line_and_2(home, record(home, content))


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 64, b"just words\n", b'{"some": "other"}\n', b"[1]\n", b"\0"]
)
def test_a_file_of_something_else_is_told(home, content):
    assert "is neither what --jsonl prints nor the output of an agent" in one_line_and_2(
        home, record(home, content)
    )


def test_garbage_is_no_output_of_an_agent_that_is_named(home):
    said = one_line_and_2(home, record(home, bytes(range(256))), "-t", "terminal-claude")
    assert "says anything to the agent 'claude': leave --type out" in said


def test_an_unknown_type_is_told_with_the_nearest(home):
    said = one_line_and_2(home, record(home, *GOOD), "-t", "terminal-claud")
    assert "did you mean 'terminal-claude'?" in said


def test_a_type_whose_plugin_is_not_there_ends_in_3(home):
    home.offer_type_without_place("boxed")
    ran = home.run("replay", record(home, *GOOD), "-t", "boxed")
    assert (ran.status, ran.err.count("\n")) == (3, 1)


def test_a_file_cut_in_the_middle_is_shown_as_far_as_it_goes(home):
    ran = home.run("replay", record(home, *GOOD, json.dumps(RESULT).encode()[:-40]))
    assert ran.status == 0
    assert "line 7 is left out: it is neither an event nor a result" in ran.err
    assert "1 successful, 0 failed" in ran.out


@pytest.mark.parametrize(
    "change",
    [
        {"type": "gossip"},
        {"type": 5},
        {"seq": "one"},
        {"worker_id": 7},
        {"task_id": None},
        {"text": ["words"]},
        {"partial": "yes"},
    ],
    ids=str,
)
def test_broken_lines_are_counted_and_the_rest_is_shown(home, change):
    broken = OPEN[0] | change
    ran = home.run("replay", record(home, broken, *GOOD, b"{nonsense\n", b"\n"))
    assert ran.status == 0
    assert "2 lines are left out, line 1 first: they are neither events nor results" in ran.err
    assert "1 successful, 0 failed" in ran.out


@pytest.mark.parametrize(
    "change",
    [
        {"status": "splendid"},
        {"duration_seconds": "long"},
        {"duration_seconds": -1},
        {"metadata": {"usage": {"input_tokens": "many"}}},
        {"metadata": {"cost_usd": "much"}},
        {"metadata": []},
    ],
    ids=str,
)
def test_a_result_with_a_wrong_value_is_a_broken_line(home, change):
    ran = home.run("replay", record(home, *GOOD, RESULT | change))
    assert ran.status == 0
    assert "line 7 is left out" in ran.err


def test_a_recording_without_one_sound_line_is_told(home):
    ran = home.run("replay", record(home, OPEN[0] | {"type": "gossip"}))
    assert ran.status == 2
    assert "holds nothing that can be shown" in ran.err


def test_what_a_later_version_adds_is_let_pass(home):
    ran = home.run("replay", record(home, *[line | {"mood": "good"} for line in GOOD]))
    assert (ran.status, "left out" in ran.err) == (0, False)


def test_both_forms_at_once_are_refused(home):
    assert "exclude each other" in one_line_and_2(home, record(home, *GOOD), "--json", "--jsonl")


# --- on a terminal


def start(home, terminal, *arguments):
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    return home.start("replay", *arguments, start_new_session=True, **ends)


def test_the_live_view_shows_a_line_a_worker_and_ctrl_c_ends_it(home, terminal):
    eve = events("eve", Text("one"), Text("two"), Text("three"), ToolCall("1", "Bash", {"command": "ls"}))
    mixed = [line for both in zip(GOOD[:4], eve, strict=True) for line in both]
    path = record(home, *mixed, *events("ada", *[Text("and on")] * 5000), RESULT)
    process = start(home, terminal, path, "--speed", "20")
    terminal.until("2 under way")
    terminal.until("terminal-ada")
    terminal.until("Bash")
    terminal.until("1.2k")
    terminal.until("$0.2500")
    process.send_signal(signal.SIGINT)
    assert "successful" not in terminal.all()
    assert process.wait() == 130


def test_at_the_end_a_table_sums_up(home, terminal):
    process = start(home, terminal, record(home, *GOOD, *BAD))
    seen = terminal.all()
    assert process.wait() == 1
    table = seen.rpartition("first line")[2]
    assert "max_budget" in table
    assert "All is there." in table
    assert "1 successful, 1 failed" in table


def test_the_view_of_a_recording_is_that_of_a_manager(home, monkeypatch):
    """Both are shown by the same code, which asks only for reports."""
    from mahavishnu_cli.playback import Playback
    from mahavishnu_cli.progress import open_progress
    from mahavishnu_cli.recording import read_recording
    from mahavishnu_cli.view import LiveView

    monkeypatch.setattr("mahavishnu_cli.progress.on_terminal", lambda: True)
    playback = Playback(read_recording(record(home, *GOOD).read_bytes()))
    assert isinstance(open_progress(playback, playback.total, "text", ()), LiveView)
