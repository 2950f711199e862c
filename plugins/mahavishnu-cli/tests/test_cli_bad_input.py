"""What is wrong is said in one line, with the documented exit status, and nothing is begun."""

from __future__ import annotations

import errno

import pytest


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["worker"], 2, "no such command 'worker'"),
        (["workers", "lst"], 2, "no such command 'lst'"),
        (["workers", "execute", "-p", "x", "-n", "0"], 2, "0 is not in the range 1<=x<=20"),
        (["workers", "execute", "-p", "x", "-n", "21"], 2, "21 is not in the range 1<=x<=20"),
        (["workers", "execute", "-p", "x", "-n", "two"], 2, "'two' is not a valid integer"),
        (["workers", "execute", "-p", "x", "-T", "29"], 2, "29 is not in the range"),
        (["workers", "execute", "-p", "x", "-T", "nan"], 2, "nan"),
        (["workers", "spawn", "-t", "shell", "-n", "51"], 2, "51 is not in the range 1<=x<=50"),
        (["workers", "execute", "-t", "shel", "-p", "x"], 2, "(did you mean 'shell'?)"),
        (["workers", "execute", "-t", "shel", "-p", "x"], 2, "mahavishnu workers types"),
        (["workers", "execute", "-t", "", "-p", "x"], 2, "unknown worker type ''"),
        (["workers", "spawn", "-t", ""], 2, "unknown worker type ''"),
        (["workers", "execute", "-t", "shell", "-p", " \n"], 2, "the prompt is empty"),
        (["workers", "execute", "-t", "shell"], 2, "either with --prompt or with --prompt-file"),
        (
            ["workers", "execute", "-p", "x", "--prompt-file", "y"],
            2,
            "--prompt and --prompt-file exclude each other",
        ),
        (["workers", "execute", "--prompt-file", "nowhere"], 2, "'nowhere' cannot be read"),
        (["workers", "execute", "-t", "shell", "-p", "x", "--json", "--jsonl"], 2, "exclude each other"),
        (["workers", "execute", "-t", "shell", "-p", "x", "--detach", "--jsonl"], 2, "--detach"),
        (["workers", "execute", "--worker", "a1", "-n", "2", "-p", "x"], 2, "--worker names the workers"),
        (["workers", "execute", "--worker", "nope", "-p", "x"], 2, "there is no worker 'nope'"),
        (["workers", "execute", "--worker", "../x", "-p", "x"], 2, "there is no worker '../x'"),
        (["workers", "execute", "-t", "shell", "-p", "x", "--repo", "gone"], 2, "is not a directory"),
        (["workers", "close"], 2, "or say --all"),
        (["workers", "close", "nope"], 2, "there is no worker 'nope'"),
        (["workers", "logs", "nope"], 2, "there is no worker 'nope'"),
        (["workers", "logs", "nope.1"], 2, "there is no task 'nope.1'"),
        (["workers", "results", "nope"], 2, "there is no worker 'nope'"),
        (["workers", "monitor", "nope"], 2, "there is no worker 'nope'"),
        (["workers", "batch", "nowhere.yaml"], 2, "'nowhere.yaml' cannot be read"),
        (["results", "show", "nope.1"], 2, "there is no task 'nope.1'"),
        (["results", "search", "x", "--limit", "0"], 2, "0 is not in the range"),
        (["--config", "gone", "workers", "types"], 2, "--config: gone"),
        (["config", "set", "max_workers", "3"], 2, "max_workers: is not a setting"),
        (["completion", "csh"], 2, "'csh' is not one of"),
    ],
)
def test_one_line_says_what_is_wrong(home, arguments, status, said):
    ran = home.run(*arguments)
    assert ran.status == status
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("mahavishnu: ")
    assert said in line
    assert not list(home.path.glob("state/workers/*"))


def test_a_missing_program_is_named_with_what_to_install(home, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    ran = home.run("workers", "execute", "-t", "terminal-claude", "-p", "x")
    assert ran.status == 3
    assert "'claude' is not installed" in ran.err
    assert "npm install -g @anthropic-ai/claude-code" in ran.err
    assert not list(home.path.glob("state/workers/*"))


def test_a_type_whose_place_is_missing_names_it(home):
    home.offer_type_without_place("boxed")
    ran = home.run("workers", "execute", "-t", "boxed", "-p", "x")
    assert (ran.status, ran.err.count("\n")) == (3, 1)
    assert "no plugin for the place 'nowhere' is loaded" in ran.err


def test_all_faults_of_the_settings_are_said_at_once(home):
    home.write(".mahavishnu/mahavishnu.yaml", "max_workers: 2\nworkers_enabled: 3\n")
    ran = home.execute("true")
    assert ran.status == 2
    assert "max_workers: is not a setting" in ran.err
    assert "workers_enabled: wanted true or false" in ran.err
    assert all(line.startswith("mahavishnu: ") for line in ran.err.splitlines())


def test_switched_off_workers_are_not_run(home):
    home.run("config", "set", "workers_enabled", "false")
    for command in (["spawn"], ["execute", "-p", "x"], ["batch", "any.yaml"]):
        ran = home.run("workers", *command)
        assert ran.status == 2
        assert "workers are switched off" in ran.err
        assert "mahavishnu.toml" in ran.err


def test_a_state_directory_that_cannot_be_written_is_said_with_what_to_do(home, monkeypatch):
    (home.path / "file").write_text("")
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", str(home.path / "file"))
    ran = home.execute("true")
    assert ran.status == 4
    assert "cannot write the state directory" in ran.err
    assert "MAHAVISHNU_STATE_DIR" in ran.err
    listed = home.run("workers", "list")
    assert (listed.status, listed.err.count("\n")) == (4, 1)


def test_untrusted_commands_of_a_project_are_not_obeyed_until_the_user_trusts_them(home):
    entry = "workers:\n  - {name: mine, agent: shell, command_template: /bin/sh -c}\n"
    settings = home.write(".mahavishnu/ecosystem.yaml", entry)
    ran = home.run("workers", "spawn", "-t", "mine")
    assert ran.status == 2
    assert "not trusted yet" in ran.err
    assert "unknown worker type 'mine'" in ran.err
    assert home.run("config", "trust").out == f"trusted {settings}\n"
    assert home.run("workers", "spawn", "-t", "mine").status == 0
    settings.write_text(settings.read_text() + "# changed\n")
    assert home.run("workers", "spawn", "-t", "mine").status == 2


def test_a_full_disk_is_said_with_what_to_do_and_ends_in_4(home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mahavishnu_core.state.StateDir.settle", full)
        ran = home.execute("echo here")
    assert (ran.status, ran.err.count("mahavishnu: ")) == (4, 1)
    assert "the disk is full: make room" in ran.err
    assert [kept["output"] for kept in home.run("workers", "results", "--json").json] == ["here"]


def test_a_traceback_is_shown_only_on_demand(home, monkeypatch):
    monkeypatch.setattr("mahavishnu_core.state.StateDir.workers", lambda *_, **__: 1 / 0)
    ran = home.run("workers", "list")
    assert ran.status == 1
    assert ran.err == (
        "mahavishnu: internal error: ZeroDivisionError: division by zero; "
        "run again with --debug for the traceback\n"
    )
    assert "Traceback" in home.run("--debug", "workers", "list").err
    assert "UnknownWorker" in home.run("--debug", "workers", "logs", "nope").err


def test_a_damaged_record_of_a_worker_is_told_and_hides_no_other(home):
    ids = [home.execute("true", "--json").json[0]["worker_id"] for _ in range(2)]
    (home.state / "workers" / ids[0] / "worker.json").write_text("{")
    listed = home.run("workers", "list", "--json")
    assert [each["worker_id"] for each in listed.json] == ids[1:]
    assert "1 worker cannot be read: see 'mahavishnu doctor'" in listed.err
    health = home.run("workers", "health", "--json").json
    assert (health["status"], len(health["damaged"])) == ("degraded", 1)
    assert f"{ids[0]}/worker.json' is damaged" in home.run("workers", "logs", ids[0]).err
    assert f"{ids[0]}/worker.json is damaged: what it is of is left out" in home.run("doctor").out


@pytest.mark.parametrize("name", ["task.json", "result.json"])
def test_doctor_names_damaged_records_of_tasks(home, name):
    (result,) = home.execute("true", "--json").json
    task_id = result["metadata"]["task_id"]
    path = home.state / "workers" / result["worker_id"] / "tasks" / task_id / name
    path.write_text("[]")
    assert f"{path} is damaged" in home.run("doctor").out
    shown = home.run("results", "show", task_id)
    assert (shown.status, "Traceback" in shown.err) == (2 if name == "task.json" else 1, False)


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_a_command_whose_streams_are_closed_does_its_work(home, closed):
    """What is opened next must not take their place: a result would be written into it."""
    closing = " ".join(f"{number}>&-" for number in closed.split())
    ran = home.in_shell(f"mahavishnu workers execute -t shell -n 1 -p 'echo done' --json {closing}")
    assert (ran.status, "internal error" in ran.err) == (0, False)
    (result,) = home.run("workers", "results", "--json").json
    assert result["output"] == "done"
    if "1" not in closed:
        assert ran.json[0]["output"] == "done"


def test_without_standard_input_a_prompt_from_there_is_empty(home):
    ran = home.in_shell("mahavishnu workers execute -t shell -n 1 --prompt-file - <&-")
    assert (ran.status, "the prompt is empty" in ran.err) == (2, True)
