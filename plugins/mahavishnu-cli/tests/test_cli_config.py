"""``config``, ``doctor`` and ``completion``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mahavishnu_core.app import load_app


def test_a_setting_that_is_set_is_shown_with_its_origin(home):
    ran = home.run("config", "set", "max_concurrent_workers", "4")
    file = home.path / "config" / "mahavishnu" / "mahavishnu.toml"
    assert ran.out == f"set max_concurrent_workers in {file}\n"
    shown = home.run("config", "show", "--json").json
    assert shown["settings"]["max_concurrent_workers"] == 4
    assert shown["origins"]["max_concurrent_workers"] == str(file)
    rows = [line.split() for line in home.run("config", "show").out.splitlines()]
    assert ["max_concurrent_workers", str(file), "4"] in rows


def test_arguments_that_are_set_are_shown_and_right(home):
    arguments = {"text": "{content}", "tags": "{tags}", "n": {"deep": [1]}}
    text = json.dumps(arguments)
    assert home.run("config", "set", "session_buddy_arguments", text).status == 0
    assert home.run("config", "show", "--json").json["settings"]["session_buddy_arguments"] == arguments
    (row,) = [
        line for line in home.run("config", "show").out.splitlines() if "session_buddy_arguments" in line
    ]
    assert row.endswith(f"mahavishnu.toml  {text}")
    assert home.run("config", "check").status == 0


def test_arguments_that_are_no_object_are_one_line(home, monkeypatch):
    ran = home.run("config", "set", "session_buddy_arguments", "text={content}")
    line = """wanted keys with values, got text: give a JSON object: '{"content": "{content}"}'"""
    assert (ran.status, ran.err) == (2, f"mahavishnu: session_buddy_arguments: {line}\n")
    monkeypatch.setenv("MAHAVISHNU_SESSION_BUDDY_ARGUMENTS", "x")
    ran = home.run("config", "check")
    assert ran.status == 2
    assert ran.err == f"mahavishnu: environment: MAHAVISHNU_SESSION_BUDDY_ARGUMENTS: {line}\n"


def test_values_of_variables_are_not_shown(home):
    home.write("conf/ecosystem.yaml", "workers:\n  - {name: shell, env: {A_KEY: sesame}}\n")
    for form in ([], ["--json"]):
        ran = home.run("--config", "conf", "config", "show", *form)
        assert "A_KEY" in ran.out
        assert "sesame" not in ran.out


def test_right_settings_are_said_to_be_right(home):
    home.run("config", "set", "worker_default_type", "shell")
    assert home.run("config", "check").out.startswith("the settings are right: 3 files, ")


def test_wrong_settings_are_all_named(home):
    home.write(".mahavishnu/mahavishnu.yaml", "a: 1\nb: 2\n")
    ran = home.run("config", "check")
    assert ran.status == 2
    assert ["a: is not a setting" in line for line in ran.err.splitlines()] == [True, False]
    assert ["b: is not a setting" in line for line in ran.err.splitlines()] == [False, True]


def test_the_directories_of_settings_are_listed_lowest_first(home):
    found = home.run("--config", str(home.work), "config", "path", "--json").json["directories"]
    assert [each["rank"] for each in found] == ["shipped", "user", "project", "project", "given"]
    assert str(home.path / "config" / "mahavishnu") in home.run("config", "path").out


def test_nothing_to_trust_is_said(home):
    ran = home.run("config", "trust")
    assert (ran.status, ran.out) == (0, "")
    assert "nothing" in ran.err


def _checks(home) -> dict[str, dict]:
    return {each["subject"]: each for each in home.run("doctor", "--json").json["checks"]}


def test_the_doctor_finds_what_is_needed(home):
    home.run("config", "set", "worker_default_type", "shell")
    ran = home.run("doctor")
    assert ran.status == 0
    for subject in (
        "python",
        "containment",
        "state directory",
        "keeper",
        "plugins",
        "type shell (default)",
        "storages",
    ):
        assert f"ok    {subject}: " in ran.out
    assert home.run("doctor", "--json").json["usable"]


def test_the_doctor_says_what_to_install(home, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    ran = home.run("doctor")
    assert ran.status == 3
    assert "FAIL  type terminal-qwen (default): " in ran.out
    assert "-> install it: npm install -g @qwen-code/qwen-code; or choose another" in ran.out
    assert _checks(home)["type terminal-claude"]["grade"] == "warning"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo 1.2.3; echo more", ", 1.2.3"),
        ("head -c 1000000 /dev/zero", " does not come to an end of '--version' within 1 s"),
        ("echo no; exit 1", ""),
        ("", ""),
        (r"printf '\033[31m9\n'", r", \x1b[31m9"),
    ],
)
def test_the_doctor_asks_programs_for_their_version_within_bounds(home, monkeypatch, script, version):
    monkeypatch.setattr("mahavishnu_cli.probe.DEADLINE", 1)
    home.write("claude", f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", f"{home.work}:/usr/bin:/bin")
    assert _checks(home)["type terminal-claude"]["detail"] == f"{home.work}/claude{version}"


@pytest.mark.thorough
def test_the_doctor_leaves_no_program_behind(home, monkeypatch, tmp_path):
    monkeypatch.setattr("mahavishnu_cli.probe.DEADLINE", 1)
    home.write("claude", f"#!/bin/sh\nexec 9> {tmp_path}/alive; sleep 1000 & sleep 1000\n")
    monkeypatch.setenv("PATH", f"{home.work}:/usr/bin:/bin")
    check = _checks(home)["type terminal-claude"]
    assert (check["grade"], check["advice"]) == (
        "warning",
        f"see what '{home.work}/claude --version' waits for",
    )
    assert not _holders(tmp_path / "alive")


def _holders(path: Path) -> list[str]:
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/9"):
        try:
            if link.readlink() == path:
                found.append(str(link))
        except OSError:
            continue
    return found


def test_the_doctor_tells_of_broken_settings_and_of_a_state_directory_that_cannot_be_used(home, monkeypatch):
    home.write(".mahavishnu/mahavishnu.yaml", "a: 1\n")
    (home.path / "file").write_text("")
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", str(home.path / "file"))
    ran = home.run("doctor")
    assert ran.status == 3
    assert "FAIL  settings: " in ran.out
    assert "FAIL  state directory: cannot write the state directory" in ran.out


def test_the_doctor_tells_of_a_storage_that_does_not_work(home):
    home.run("config", "set", "worker_default_type", "shell")
    home.execute("true")
    (database,) = home.state.glob("*.sqlite3")
    database.write_bytes(b"this is no database, whatever its name says" * 100)
    ran = home.run("doctor")
    assert ran.status == 3
    assert "FAIL  storages: sqlite does not work" in ran.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_the_program(home, shell):
    ran = home.run("completion", shell)
    assert ran.status == 0
    assert f"_MAHAVISHNU_COMPLETE={shell}_complete" in ran.out


def _completed(home, words: str) -> list[str]:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ran = home.script(env={**os.environ, **asked, "_MAHAVISHNU_COMPLETE": "bash_complete"})
    return [line.partition(",")[2] for line in ran.out.splitlines()]


@pytest.mark.thorough
def test_commands_types_workers_and_tasks_are_completed(home):
    worker_id = home.execute("true", "--json").json[0]["worker_id"]
    assert _completed(home, "mahavishnu workers mon") == ["monitor"]
    types = _completed(home, "mahavishnu workers spawn -t terminal-")
    entries = load_app().catalog.entries
    assert types == [each.type.name for each in entries if each.type.name.startswith("terminal-")]
    assert {"terminal-claude", "terminal-qwen"} <= set(types)
    assert _completed(home, f"mahavishnu workers close {worker_id[:3]}") == [worker_id]
    assert _completed(home, f"mahavishnu results show {worker_id}.") == [f"{worker_id}.1"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("{name: mine, agent: claud}", "did you mean 'claude'?"),
        ("{name: mine, agent: shell, place: moon}", "'moon'"),
    ],
)
def test_a_worker_type_of_ones_own_that_cannot_be_used_is_not_right(home, entry, reason):
    home.write("conf/ecosystem.yaml", f"workers:\n  - {entry}\n")
    ran = home.run("--config", "conf", "config", "check")
    assert (ran.status, ran.out) == (3, "")
    assert "worker type 'mine' is not available: " in ran.err
    assert reason in ran.err


def test_a_default_type_that_is_unknown_is_not_right(home):
    home.run("config", "set", "worker_default_type", "shel")
    ran = home.run("config", "check")
    assert (ran.status, ran.out) == (2, "")
    assert "did you mean 'shell'?" in ran.err


def test_set_says_when_a_variable_stands_over_it(home, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_MAX_CONCURRENT_WORKERS", "3")
    ran = home.run("config", "set", "max_concurrent_workers", "4")
    assert (ran.status, "MAHAVISHNU_MAX_CONCURRENT_WORKERS stands over it" in ran.err) == (0, True)
    assert home.run("config", "set", "worker_default_type", "shell").err == ""


def test_switched_off_by_a_variable_is_switched_on_by_that(home, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_WORKERS_ENABLED", "false")
    assert "switch them on with 'unset MAHAVISHNU_WORKERS_ENABLED'" in home.execute("true").err


def test_the_path_of_settings_in_a_directory_that_is_gone_is_one_line(home):
    ran = home.in_shell("mkdir gone && cd gone && rmdir ../gone && mahavishnu config path")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "the current directory is gone" in ran.err


def test_the_names_of_settings_are_completed(home):
    assert _completed(home, "mahavishnu config set worker_d") == ["worker_default_type"]
