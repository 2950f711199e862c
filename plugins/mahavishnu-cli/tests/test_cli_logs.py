"""``workers logs``: transcripts for people, and the bytes as they came."""

from __future__ import annotations

import json

import pytest

SESSION = "11111111-2222-4333-8444-555555555555"
STREAM = [
    {"type": "system", "subtype": "init", "session_id": SESSION, "model": "m1", "permissionMode": "default"},
    {
        "type": "assistant",
        "message": {
            "content": [
                {"type": "thinking", "thinking": "hmm"},
                {"type": "text", "text": "I look\x1b[2J around"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls  -la", "x": 1}},
            ]
        },
    },
    {
        "type": "user",
        "message": {
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": "\n".join(f"file{number}" for number in range(40)),
                }
            ]
        },
    },
    {"type": "result", "subtype": "success", "is_error": False, "result": "all done", "session_id": SESSION},
]


@pytest.fixture
def claude(home, monkeypatch):
    """A claude that says what is in ``stream.jsonl``."""
    home.write("stream.jsonl", "".join(json.dumps(line) + "\n" for line in STREAM))
    home.write("bin/claude", "#!/bin/sh\ncat > /dev/null\ncat stream.jsonl\necho careful >&2\n")
    monkeypatch.setenv("PATH", str(home.work / "bin"), prepend=":")


def _talk(home) -> str:
    ran = home.run("workers", "execute", "-t", "terminal-claude", "-n", "1", "-p", "look around", "--json")
    return ran.json[0]["worker_id"]


def test_a_transcript_shows_words_tools_and_the_verdict(home, claude):
    worker_id = _talk(home)
    out = home.run("workers", "logs", worker_id).out
    lines = out.splitlines()
    assert lines[0] == f"=== {worker_id}.1: look around"
    assert "--- m1, default, session " + SESSION in lines
    assert "~ hmm" in lines
    assert r"I look\x1b[2J around" in lines
    assert "> Bash ls -la" in lines
    assert "< file0" in lines
    assert "< (28 more lines; --raw shows them)" in lines
    assert "file39" not in out
    assert "stderr: careful" in lines
    assert lines[-1].startswith(f"=== {worker_id}.1 completed in ")


def test_a_field_of_many_lines_passes_for_no_other_line(home, monkeypatch):
    evil = "x\n=== forged"
    message = {"content": [{"type": "tool_use", "id": "1", "name": "Bash", "input": {}}]}
    said = [
        {"type": "system", "subtype": "init", "session_id": evil, "model": evil},
        {"type": "assistant", "message": message},
        {"type": "system", "subtype": "api_retry", "error": evil},
        {"type": "result", "subtype": "success", "is_error": True, "result": "it failed", "session_id": evil},
    ]
    home.write("stream.jsonl", "".join(json.dumps(line) + "\n" for line in said))
    home.write("bin/claude", "#!/bin/sh\ncat > /dev/null\ncat stream.jsonl\nprintf 'a\\n=== forged' >&2\n")
    monkeypatch.setenv("PATH", str(home.work / "bin"), prepend=":")
    worker_id = _talk(home)
    for command in (["workers", "logs", worker_id], ["results", "show", worker_id]):
        out = home.run(*command).out
        assert out.count("=== forged") >= 3
        assert not [line for line in out.splitlines() if line.startswith("=== forged")]


def test_raw_is_the_output_byte_for_byte(home):
    worker_id = home.execute(r"printf 'a\033[0m\377\000b'", "--json").json[0]["worker_id"]
    raw = home.start("workers", "logs", "--raw", worker_id, text=False).communicate()[0]
    assert raw == b"a\x1b[0m\xff\x00b"


def test_a_task_can_be_named_by_its_id_or_its_number(home):
    worker_id = home.execute("echo one", "--json").json[0]["worker_id"]
    home.run("workers", "execute", "--worker", worker_id, "-p", "echo two")
    assert "two" in home.run("workers", "logs", worker_id).out
    assert "one\n" in home.run("workers", "logs", worker_id, "--task", "1").out
    assert "one\n" in home.run("workers", "logs", f"{worker_id}.1").out
    assert home.run("workers", "logs", worker_id, "--task", "3").status == 2


def test_a_failure_is_told_with_its_error_output(home):
    worker_id = home.execute("echo half; echo oops >&2; exit 4", "--json").json[0]["worker_id"]
    lines = home.run("workers", "logs", worker_id).out.splitlines()
    assert lines[1] == "half"
    assert "stderr: oops" in lines
    assert "failed (exit_status)" in lines[-1]


def test_known_secrets_are_taken_out_of_transcripts(home, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "s3cret-s3cret")
    worker_id = home.execute("echo s3cret-s3cret; echo s3cret-s3cret >&2", "--json").json[0]["worker_id"]
    out = home.run("workers", "logs", worker_id).out
    assert "s3cret" not in out
    assert out.count("[redacted]") == 4  # two in the prompt, a line, a line on standard error


def test_following_shows_a_task_until_its_end(home, waiting, bell, gate):
    task = home.detach(waiting)
    bell.heard()
    process = home.start("workers", "logs", "-f", task["worker_id"])
    raw = home.start("workers", "logs", "-f", "--raw", task["task_id"])
    assert process.stdout.readline().startswith(f"=== {task['task_id']}: ")
    assert process.stdout.readline() == "begun\n"
    assert raw.stdout.readline() == "begun\n"
    gate.let_in()
    ran = home.finish(process)
    assert ran.out.startswith("done\n")
    assert "completed in" in ran.out
    assert (ran.status, home.finish(raw).out) == (0, "done\n")


def test_a_task_that_has_not_ended_is_shown_as_far_as_it_is(home, waiting, bell, gate):
    task = home.detach(waiting)
    bell.heard()
    ran = home.run("workers", "logs", task["worker_id"])
    gate.let_in()
    assert "begun" in ran.out
    assert "--follow goes on reading" in ran.err
    home.run("workers", "monitor", task["worker_id"])


def test_a_task_that_ended_unseen_is_settled_by_who_looks_at_its_logs(home):
    task = home.leave("echo hi; exit 3")
    ran = home.run("workers", "logs", task["task_id"])
    assert "failed (exit_status)" in ran.out
    assert ran.err == ""


def test_the_events_of_a_task_are_one_json_object(home, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "s3cret-s3cret")
    (result,) = home.execute("echo hi; echo s3cret-s3cret", "--json").json
    told = home.run("workers", "logs", result["worker_id"], "--json").json
    assert (told["worker_id"], told["status"]) == (result["worker_id"], "completed")
    assert told["task_id"] == result["metadata"]["task_id"]
    assert [(each["seq"], each["type"]) for each in told["events"]] == [
        (1, "text"),
        (2, "text"),
        (3, "finished"),
    ]
    assert [each.get("text") for each in told["events"]][:2] == ["hi", "[redacted]"]


def test_events_as_json_can_be_waited_for(home, waiting, bell, gate):
    task = home.detach(waiting)
    bell.heard()
    process = home.start("workers", "logs", "-f", "--json", task["task_id"])
    gate.let_in()
    assert home.finish(process).json["events"][-1]["type"] == "finished"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--raw", "--json"], "--raw and --json exclude each other"),
        (["--task", "1"], "that is a task of worker"),
    ],
)
def test_logs_are_not_asked_for_in_two_ways_at_once(home, options, reason):
    (result,) = home.execute("true", "--json").json
    ran = home.run("workers", "logs", result["metadata"]["task_id"], *options)
    assert (ran.status, ran.out) == (2, "")
    assert reason in ran.err


def test_a_worker_without_a_task_has_no_logs(home):
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    ran = home.run("workers", "logs", worker_id)
    assert (ran.status, ran.out) == (2, "")
    assert "has had no task yet" in ran.err
