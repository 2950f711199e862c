"""``workers spawn``, ``execute``, ``list``, ``results``, ``close``, ``types``, ``health``: the main job."""

from __future__ import annotations

import json

import pytest

TO_DICT = {
    "worker_id",
    "status",
    "output",
    "error",
    "exit_code",
    "duration_seconds",
    "metadata",
    "timestamp",
}


def test_three_workers_do_one_prompt_and_are_counted(home):
    ran = home.run("workers", "execute", "-t", "shell", "-p", "echo some work")
    assert ran.status == 0
    assert ran.out.count("some work\n") == 3
    assert ran.out.endswith("3 successful, 0 failed\n")
    assert ran.err.count("completed in") == 3


def test_a_task_that_fails_is_told_with_its_reason_and_ends_in_1(home):
    ran = home.execute("echo half; echo oops >&2; exit 7")
    assert ran.status == 1
    assert "failed (exit_status)" in ran.out
    assert "half\nerror: oops" in ran.out
    assert ran.out.endswith("0 successful, 1 failed\n")


def test_json_is_an_array_of_whole_results_and_nothing_else(home):
    ran = home.execute("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done", "--json")
    (result,) = ran.json
    assert set(result) == TO_DICT
    assert result["output"] == "\n".join(f"line {number}" for number in range(300))
    assert result["metadata"]["worker_type"] == "shell"
    assert (ran.status, result["status"], result["exit_code"]) == (0, "completed", 0)


def test_json_lines_are_the_events_and_last_the_results(home):
    ran = home.execute("echo one; echo two", "--jsonl")
    *events, result = ran.json_lines
    assert [(event["type"], event.get("text")) for event in events[:2]] == [("text", "one"), ("text", "two")]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["worker_id"] == result["worker_id"]
    assert events[0]["task_id"] == result["metadata"]["task_id"]
    assert (result["type"], result["status"], result["output"]) == ("result", "completed", "one\ntwo")


def test_known_secrets_do_not_appear_in_events_or_results(home, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2-hunter2")
    assert "hunter2" not in home.execute("echo hunter2-hunter2", "--jsonl").out
    assert "[redacted]" in home.execute("echo hunter2-hunter2").out


def test_control_characters_of_a_worker_reach_no_terminal(home):
    ran = home.execute(r"printf 'a\033[31mb\r\302\233c\n'")
    assert r"a\x1b[31mb\x0d\x9bc" in ran.out
    assert "\x1b" not in ran.out + ran.err


def test_a_worker_stays_open_and_takes_a_second_task(home):
    (first,) = home.execute("echo one", "--json").json
    again = home.run("workers", "execute", "--worker", first["worker_id"], "-p", "echo two", "--json")
    assert again.json[0]["worker_id"] == first["worker_id"]
    assert again.json[0]["metadata"]["task_id"] != first["metadata"]["task_id"]
    both = home.run("workers", "results", first["worker_id"], "--all", "--json").json
    assert [result["output"] for result in both] == ["one", "two"]
    latest = home.run("workers", "results", first["worker_id"], "--json").json
    assert [result["output"] for result in latest] == ["two"]


def test_a_busy_worker_is_refused_and_the_others_do_their_work(home, waiting, bell, gate):
    busy, idle = home.run("workers", "spawn", "-t", "shell", "-n", "2", "--json").json
    home.run("workers", "execute", "--worker", busy, "-p", waiting, "--detach")
    bell.heard()
    ran = home.run("workers", "execute", "--worker", busy, "--worker", idle, "-p", "echo hi", "--json")
    gate.let_in()
    assert ran.status == 2
    assert f"worker {busy!r} is busy" in ran.err
    assert [(result["worker_id"], result["output"]) for result in ran.json] == [(busy, None), (idle, "hi")]
    assert ran.json[0]["metadata"] == {"reason": "refused"}
    assert home.run("workers", "monitor", busy).status == 0


def test_a_prompt_is_passed_byte_for_byte(home):
    prompt = "-n $HOME 'x' \"y\" \\ ünï 世界 \U0001f600\n\nlast"
    entry = "{name: echo, agent: generic, command_template: cat, progress_tracking: lines}"
    home.write("conf/ecosystem.yaml", f"workers:\n  - {entry}\n")
    given = ("--config", "conf", "workers", "execute", "-t", "echo", "-n", "1", "--json")
    assert home.run(*given, "--prompt", prompt).json[0]["output"] == prompt
    (home.work / "prompt.md").write_text(prompt)
    assert home.run(*given, "--prompt-file", "prompt.md").json[0]["output"] == prompt
    assert home.script(*given, "--prompt-file", "-", given=prompt).json[0]["output"] == prompt


def test_the_task_runs_in_the_directory_that_was_named(home, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    ran = home.execute("pwd", "--repo", str(tmp_path / "elsewhere"), "--json")
    assert ran.json[0]["output"] == str(tmp_path / "elsewhere")


def test_detached_tasks_go_on_by_themselves(home, waiting, bell, gate):
    submitted = home.detach(waiting)
    assert set(submitted) == {"worker_id", "task_id"}
    bell.heard()
    (listed,) = home.run("workers", "list", "--json").json
    assert listed["status"] == "running"
    gate.let_in()
    assert home.run("workers", "monitor", submitted["worker_id"]).status == 0
    assert home.run("workers", "results", "--json").json[0]["output"] == "begun\ndone"


def test_spawned_workers_are_idle_and_listed(home):
    ran = home.run("workers", "spawn", "-t", "shell", "-n", "2", "--json")
    assert home.run("workers", "spawn", "-t", "shell").out.strip().isalnum()
    listed = home.run("workers", "list", "--json").json
    assert [each["worker_id"] for each in listed[:2]] == ran.json
    assert {(each["worker_type"], each["status"], each["task_id"]) for each in listed} == {
        ("shell", "pending", None)
    }


def test_closed_workers_are_listed_only_when_all_are_asked_for(home):
    one, two = home.run("workers", "spawn", "-t", "shell", "-n", "2", "--json").json
    assert home.run("workers", "close", one, "--json").json == {"closed": [one], "already_closed": []}
    assert [each["worker_id"] for each in home.run("workers", "list", "--json").json] == [two]
    assert len(home.run("workers", "list", "--all", "--json").json) == 2
    assert home.run("workers", "close", one, two, "--json").json == {"closed": [two], "already_closed": [one]}
    assert home.run("workers", "close", "--all").out == "closed 0 workers\n"
    assert "no workers" in home.run("workers", "list").err


def test_closing_a_worker_ends_its_task(home, waiting, bell):
    home.detach(waiting)
    bell.heard()
    assert home.run("workers", "close", "--all").status == 0
    assert home.run("workers", "results", "--json").json[0]["status"] == "cancelled"


def test_the_types_say_what_they_are_and_why_one_cannot_be_used(home):
    home.offer_type_without_place("boxed")
    found = {kind["name"]: kind for kind in home.run("workers", "types", "--json").json["types"]}
    assert found["shell"]["available"]
    assert found["shell"]["agent"] == "shell"
    assert "no plugin for the place 'nowhere'" in found["boxed"]["unavailable"]
    assert "terminal-claude" in home.run("workers", "types").out


def test_health_counts_workers_and_tasks(home):
    home.execute("true")
    found = home.run("workers", "health", "--json").json
    assert found.pop("containment") in {"control groups", "process table"}
    assert found == {
        "status": "healthy",
        "workers_active": 1,
        "tasks_running": 0,
        "tasks_pending": 0,
        "max_concurrent": 10,
        "not_stored": [],
        "leftovers": [],
        "not_swept": [],
        "damaged": [],
        "not_mirrored": [],
    }
    assert home.run("workers", "health").out.startswith("healthy: 1 ")


def test_the_default_type_and_timeout_come_from_the_settings(home):
    home.run("config", "set", "worker_default_type", "shell")
    home.run("config", "set", "worker_timeout_seconds", "77")
    (result,) = home.run("workers", "execute", "-n", "1", "-p", "true", "--json").json
    shown = home.run("results", "show", result["metadata"]["task_id"], "--json").json
    assert shown["timeout_seconds"] == 77
    given = home.run("workers", "execute", "-n", "1", "-T", "31", "-p", "true", "--json").json
    assert home.run("results", "show", given[0]["worker_id"], "--json").json["timeout_seconds"] == 31


def test_monitor_prints_one_snapshot_as_json(home):
    home.execute("echo hi")
    (worker,) = home.run("workers", "monitor", "--json").json["workers"]
    assert (worker["status"], worker["activity"]) == ("completed", "hi")


def test_what_a_worker_is_said_to_be_doing_stays_short(home):
    home.execute("seq 3000")
    (worker,) = home.run("workers", "list", "--json").json
    assert worker["activity"].startswith("1 2 3 ")
    assert len(worker["activity"]) == 200


def test_monitor_of_a_worker_tells_by_its_status_what_came_of_the_task(home):
    worker_id = home.execute("exit 3", "--json").json[0]["worker_id"]
    ran = home.run("workers", "monitor", worker_id)
    assert ran.status == 1
    assert f"{worker_id} failed (exit_status) in " in ran.err
    assert home.run("workers", "monitor", worker_id, "--json").status == 1
    assert home.run("workers", "monitor").status == 0


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_monitor_tells_of_tasks_whose_end_it_is_the_first_to_see(home, form):
    home.leave("exit 3")
    assert home.run("workers", "monitor", *form).status == 1
    assert home.run("workers", "monitor", *form).status == 0  # now it is known


def test_monitor_and_results_take_the_id_of_a_task(home):
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    for prompt in ("exit 3", "echo two"):
        home.run("workers", "execute", "--worker", worker_id, "-p", prompt)
    assert home.run("workers", "monitor", f"{worker_id}.1").status == 1
    assert home.run("workers", "monitor", f"{worker_id}.2", worker_id).status == 0
    assert home.run("workers", "results", f"{worker_id}.1").out.startswith(
        f"=== {worker_id}.1  shell  failed"
    )
    assert len(home.run("workers", "results", f"{worker_id}.1", worker_id, "--all", "--json").json) == 2
    ran = home.run("workers", "close", f"{worker_id}.1")
    assert f"there is no worker '{worker_id}.1': that is a task of worker '{worker_id}'" in ran.err


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_json_is_ascii_whatever_a_worker_says(home, form):
    ran = home.execute("printf '\\342\\200\\256\\302\\233 \\303\\251\\n'", form)
    assert ran.out.isascii()
    assert json.loads(ran.out.splitlines()[-1])


@pytest.mark.parametrize("prompt", ["-n foo", "-", "+x", "--version"])
def test_a_command_line_is_one_whatever_it_begins_with(home, prompt):
    (result,) = home.execute(prompt, "--json").json
    assert f"{prompt.split()[0]}: " in result["error"]
    assert "not found" in result["error"]
    assert home.run("results", "show", result["worker_id"], "--json").json["prompt"] == prompt
