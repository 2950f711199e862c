"""What a project's settings may do before, and after, the user has said that the project is trusted."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings import load_settings, trust

ENTRY = "workers:\n  - {name: terminal-claude, command_template: ./evil}\n"
WARNING = "not trusted yet, so what it says of {} is ignored: read it, then run 'mahavishnu config trust'"


@pytest.fixture
def environ(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "work" / ".mahavishnu"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def load(tmp_path, environ):
    return lambda **given: load_settings(cwd=tmp_path / "work", environ=environ, **given)


def template(loaded, name="terminal-claude"):
    return next(entry.command_template for entry in loaded.settings.workers if entry.name == name)


def test_i3_a_projects_commands_are_ignored_with_one_warning(load, project):
    file = project / "ecosystem.yaml"
    file.write_text(ENTRY)
    loaded = load()
    assert template(loaded) == "claude --output-format stream-json --permission-mode acceptEdits"
    assert loaded.warnings == (f"{file}: {WARNING.format('workers')}",)
    assert loaded.untrusted == (file,)


@pytest.mark.parametrize(
    "entry",
    [
        "{name: terminal-claude, env: {PATH: /evil}}",
        "{name: terminal-claude, pass_env: [AWS_*]}",
        "{name: terminal-claude, agent: shell}",
        "{name: new, agent: shell, aliases: [terminal-claude]}",
    ],
)
def test_nothing_of_a_projects_workers_is_obeyed(load, project, entry):
    before = load().settings.workers
    (project / "ecosystem.yaml").write_text(f"workers:\n  - {entry}\n")
    assert load().settings.workers == before


def test_a_project_may_not_pass_the_users_variables_on(load, project):
    (project / "mahavishnu.yaml").write_text("pass_env: ['AWS_*']\nmax_concurrent_workers: 3\n")
    loaded = load()
    assert loaded.settings.pass_env == ()
    assert loaded.origins["pass_env"].endswith("shipped/mahavishnu.yaml")
    assert loaded.untrusted == (project / "mahavishnu.yaml",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_buddy_url", "http://elsewhere.example/mcp"),
        ("session_buddy_command", "./evil"),
        ("session_buddy_command", ""),
        ("session_buddy_tool", ""),
        ("session_buddy_arguments", {}),
        ("session_buddy_tool", "shout"),
        ("session_buddy_arguments", {"text": "{content}"}),
    ],
)
def test_a_project_may_not_say_where_results_go_or_how(load, project, field, value, environ):
    before = getattr(load().settings, field)
    file = project / "mahavishnu.yaml"
    file.write_text(f"{field}: {json.dumps(value)}\n")
    loaded = load()
    assert getattr(loaded.settings, field) == before
    assert loaded.untrusted == (file,)
    trust([file], environ=environ)
    assert getattr(load().settings, field) == value


def test_what_does_no_harm_is_obeyed_from_any_project(load, project):
    (project / "mahavishnu.yaml").write_text(
        "max_concurrent_workers: 3\nworker_timeout_seconds: 60\npass_env: []\n"
    )
    loaded = load()
    assert loaded.settings.max_concurrent_workers == 3
    assert loaded.settings.worker_timeout_seconds == 60
    assert loaded.untrusted == loaded.warnings == ()


def test_an_untrusted_project_cannot_turn_prompts_into_command_lines(load, project):
    (project / "mahavishnu.yaml").write_text("worker_default_type: shell\n")
    loaded = load()
    assert loaded.settings.worker_default_type == "terminal-qwen"
    assert loaded.untrusted == (project / "mahavishnu.yaml",)


def test_a_project_may_not_let_workers_start_workers(load, project, environ):
    file = project / "mahavishnu.yaml"
    file.write_text("max_worker_depth: 3\n")
    loaded = load()
    assert loaded.settings.max_worker_depth == 1
    assert loaded.warnings == (f"{file}: {WARNING.format('max_worker_depth')}",)
    trust([file], environ=environ)
    assert load().settings.max_worker_depth == 3


def test_a_trusted_file_is_obeyed(load, project, environ):
    (project / "ecosystem.yaml").write_text(ENTRY)
    trust([project / "ecosystem.yaml"], environ=environ)
    loaded = load()
    assert template(loaded) == "./evil"
    assert loaded.untrusted == loaded.warnings == ()


def test_a_trusted_file_that_changes_is_not_trusted_any_more(load, project, environ):
    file = project / "ecosystem.yaml"
    file.write_text(ENTRY)
    trust([file], environ=environ)
    file.write_text(ENTRY.replace("./evil", "./worse"))
    assert load().untrusted == (file,)


def test_trust_in_one_file_is_none_in_its_copy_elsewhere(load, tmp_path, project, environ):
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(ENTRY)
    (project / "ecosystem.yaml").write_text(ENTRY)
    trust([elsewhere], environ=environ)
    assert load().untrusted == (project / "ecosystem.yaml",)


def test_trust_in_one_file_keeps_that_in_others(load, project, environ):
    (project / "ecosystem.yaml").write_text(ENTRY)
    (project / "mahavishnu.yaml").write_text("pass_env: [EDITOR]\n")
    trust([project / "ecosystem.yaml"], environ=environ)
    trust([project / "mahavishnu.yaml"], environ=environ)
    assert load().untrusted == ()


def test_a_copy_of_a_shipped_file_needs_no_trust(load, project):
    shipped = Path(load().origins["workers"])
    (project / "ecosystem.yaml").write_bytes(shipped.read_bytes())
    loaded = load()
    assert loaded.untrusted == ()
    assert loaded.origins["workers"] == str(project / "ecosystem.yaml")


def test_the_users_own_and_given_files_need_no_trust(load, tmp_path):
    for directory in (tmp_path / "xdg" / "mahavishnu", tmp_path / "given"):
        directory.mkdir(parents=True)
        (directory / "ecosystem.yaml").write_text(ENTRY.replace("./evil", directory.name))
    assert template(load()) == "mahavishnu"
    assert template(load(config_dir=tmp_path / "given")) == "given"


def test_the_list_of_trusted_files_is_private(project, environ, tmp_path):
    (project / "ecosystem.yaml").write_text(ENTRY)
    trust([project / "ecosystem.yaml"], environ=environ)
    listed = tmp_path / "xdg" / "mahavishnu" / "trusted.json"
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    assert stat.S_IMODE(listed.parent.stat().st_mode) == 0o700
    assert list(json.loads(listed.read_text())) == [str(project / "ecosystem.yaml")]


@pytest.mark.parametrize("content", ["[", "[]", '{"a": 1}', "[" * 100_000])
def test_a_spoilt_list_of_trusted_files_is_one_clear_line(load, project, tmp_path, content):
    (project / "ecosystem.yaml").write_text(ENTRY)
    listed = tmp_path / "xdg" / "mahavishnu" / "trusted.json"
    listed.parent.mkdir(parents=True)
    listed.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load()
    fault = "is not the list that 'mahavishnu config trust' wrote: delete it"
    assert caught.value.problems == (f"{listed}: {fault}",)


def test_a_list_of_trusted_files_that_anybody_may_change_is_refused(load, project, environ, tmp_path):
    (project / "ecosystem.yaml").write_text(ENTRY)
    trust([project / "ecosystem.yaml"], environ=environ)
    (tmp_path / "xdg" / "mahavishnu" / "trusted.json").chmod(0o666)
    with pytest.raises(SettingsError, match="anybody on this machine may change it"):
        load()


def test_a_file_that_is_not_there_cannot_be_trusted(project, environ):
    with pytest.raises(SettingsError, match=r"nothing\.yaml: there is no such file"):
        trust([project / "nothing.yaml"], environ=environ)
