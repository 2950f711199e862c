"""Which layer of the settings wins, what an entry changes, and where each value came from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings import Settings, load_settings, settings_dirs, user_config_dir

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def environ(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}


@pytest.fixture
def user(tmp_path):
    return tmp_path / "xdg" / "mahavishnu"


@pytest.fixture
def project(tmp_path):
    return tmp_path / "work" / ".mahavishnu"


@pytest.fixture
def load(tmp_path, environ):
    def load(*, config_dir=None, variables=None, **overrides):
        return load_settings(
            cwd=tmp_path / "work",
            config_dir=config_dir,
            environ=environ | (variables or {}),
            overrides=overrides,
        )

    return load


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def worker(settings, name):
    return next(entry for entry in settings.workers if entry.name == name)


def test_the_shipped_file_names_every_field_with_the_default_of_its_class(load):
    loaded = load()
    main = [field.name for field in attrs.fields(Settings) if field.name not in ("roles", "workers")]
    assert all(loaded.origins[name].endswith("mahavishnu.yaml") for name in main)
    assert attrs.evolve(loaded.settings, roles=(), workers=()) == Settings()


def test_the_shipped_templates_are_the_vendors_own_command_lines(load):
    settings = load().settings
    assert worker(settings, "terminal-qwen").command_template == "qwen -o stream-json --approval-mode yolo"
    assert (
        worker(settings, "terminal-claude").command_template
        == "claude --output-format stream-json --permission-mode acceptEdits"
    )


def test_the_shipped_container_type_has_its_short_name(load):
    container = worker(load().settings, "container-executor")
    assert (container.agent, container.place, container.aliases) == ("shell", "container", ("container",))


def test_the_role_of_a_worker_is_shipped(load):
    (role,) = load().settings.roles
    assert role.name == "worker"
    assert role.tags == ("execution", "compute", "processing", "headless")
    assert role.capabilities == ("execute", "report", "retry", "timeout", "capture")


def test_the_shipped_files_are_those_of_the_repository():
    for name in ("mahavishnu.yaml", "ecosystem.yaml"):
        shipped = REPOSITORY / "mahavishnu_core" / "shipped" / name
        assert shipped.read_bytes() == (REPOSITORY / "settings" / name).read_bytes()


def test_nothing_set_gives_no_warning(load):
    assert load().warnings == ()


def test_each_layer_goes_over_the_one_below(load, user, project, tmp_path):
    given = tmp_path / "given"
    seen = [load().settings.max_concurrent_workers]
    for limit, file in (
        (21, user / "mahavishnu.yaml"),
        (22, tmp_path / "work" / "settings" / "mahavishnu.yaml"),
        (23, project / "mahavishnu.yaml"),
        (24, given / "mahavishnu.yaml"),
    ):
        write(file, f"max_concurrent_workers: {limit}\n")
        config_dir = given if given.exists() else None
        seen.append(load(config_dir=config_dir).settings.max_concurrent_workers)
    variables = {"MAHAVISHNU_MAX_CONCURRENT_WORKERS": "25"}
    seen.append(load(config_dir=given, variables=variables).settings.max_concurrent_workers)
    loaded = load(config_dir=given, variables=variables, max_concurrent_workers=26)
    assert [*seen, loaded.settings.max_concurrent_workers] == [10, 21, 22, 23, 24, 25, 26]


def test_a_layer_changes_only_what_it_names(load, user, project):
    write(user / "mahavishnu.yaml", "worker_timeout_seconds: 600\nmax_concurrent_workers: 4\n")
    write(project / "mahavishnu.yaml", "max_concurrent_workers: 5\n")
    settings = load().settings
    assert (settings.worker_timeout_seconds, settings.max_concurrent_workers) == (600, 5)


def test_the_users_file_may_be_toml(load, user):
    write(user / "mahavishnu.toml", 'pass_env = ["GIT_*"]\nworkers_enabled = false\n')
    settings = load().settings
    assert (settings.pass_env, settings.workers_enabled) == (("GIT_*",), False)


def test_origins_name_the_file_the_variable_and_the_command_line(load, user):
    write(user / "mahavishnu.yaml", "max_concurrent_workers: 4\n")
    origins = load(variables={"MAHAVISHNU_WORKERS_ENABLED": "no"}, worker_default_type="shell").origins
    assert origins["max_concurrent_workers"] == str(user / "mahavishnu.yaml")
    assert origins["workers_enabled"] == "MAHAVISHNU_WORKERS_ENABLED"
    assert origins["worker_default_type"] == "command line"


def test_an_entry_of_a_known_name_changes_only_the_fields_it_names(load, user):
    write(user / "ecosystem.yaml", "workers:\n  - name: terminal-claude\n    timeout_seconds: 900\n")
    loaded = load()
    claude = worker(loaded.settings, "terminal-claude")
    assert claude.timeout_seconds == 900.0
    assert claude.command_template == "claude --output-format stream-json --permission-mode acceptEdits"
    assert loaded.origins["workers.terminal-claude"] == str(user / "ecosystem.yaml")
    assert loaded.origins["workers.terminal-qwen"].endswith("shipped/ecosystem.yaml")


def test_an_entry_of_a_new_name_is_added_after_the_shipped_ones(load, user):
    write(user / "ecosystem.yaml", "workers:\n  - {name: lint, agent: shell, command_template: make lint}\n")
    assert [entry.name for entry in load().settings.workers][-1] == "lint"


def test_a_role_of_a_known_name_is_replaced_whole(load, user):
    write(user / "ecosystem.yaml", "roles:\n  - {name: worker, description: mine}\n")
    (role,) = load().settings.roles
    assert (role.description, role.tags) == ("mine", ())


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("workers_enabled", "Off", False),
        ("session_buddy_integration", "0", False),
        ("max_concurrent_workers", " 7 ", 7),
        ("worker_timeout_seconds", "60", 60),
        ("max_worker_depth", "2", 2),
        ("worker_default_type", "shell", "shell"),
        ("pass_env", "GIT_*, EDITOR PAGER", ("GIT_*", "EDITOR", "PAGER")),
        ("session_buddy_url", "https://[::1]:8443/mcp?a=b", "https://[::1]:8443/mcp?a=b"),
        ("session_buddy_command", " uvx 'my server' ", "uvx 'my server'"),
        ("session_buddy_tool", "remember", "remember"),
        (
            "session_buddy_arguments",
            ' {"text": "{content}", "tags": "{tags}", "n": {"deep": [1, null, 2.5]}} ',
            {"text": "{content}", "tags": "{tags}", "n": {"deep": [1, None, 2.5]}},
        ),
    ],
)
def test_a_variable_is_read_by_the_type_of_its_field(load, field, text, value):
    loaded = load(variables={f"MAHAVISHNU_{field.upper()}": text})
    assert getattr(loaded.settings, field) == value


def test_arguments_of_a_higher_layer_stand_in_place_of_those_below(load, user):
    file = write(user / "mahavishnu.yaml", "session_buddy_arguments: {text: '{content}', tags: '{tags}'}\n")
    assert load().settings.session_buddy_arguments == {"text": "{content}", "tags": "{tags}"}
    assert load().origins["session_buddy_arguments"] == str(file)
    above = load(variables={"MAHAVISHNU_SESSION_BUDDY_ARGUMENTS": '{"text": "{id}"}'})
    assert above.settings.session_buddy_arguments == {"text": "{id}"}


def test_an_empty_variable_is_one_that_is_not_set(load):
    assert load(variables={"MAHAVISHNU_MAX_CONCURRENT_WORKERS": ""}).settings.max_concurrent_workers == 10


@pytest.mark.parametrize(("written", "used"), [(0, 1), (-1, 1), (200, 100), (10**9, 100)])
def test_a_limit_out_of_range_is_brought_inside_with_a_warning(load, user, written, used):
    file = write(user / "mahavishnu.yaml", f"max_concurrent_workers: {written}\n")
    loaded = load()
    assert loaded.settings.max_concurrent_workers == used
    assert loaded.warnings == (f"{file}: max_concurrent_workers: must be from 1 to 100: {used} is used",)


def test_a_limit_out_of_range_that_a_higher_layer_replaces_is_not_worth_a_warning(load, user):
    write(user / "mahavishnu.yaml", "max_concurrent_workers: 200\n")
    assert load(max_concurrent_workers=3).warnings == ()


def test_a_misspelt_variable_is_a_warning_that_names_the_right_one(load):
    loaded = load(variables={"MAHAVISHNU_MAX_CONCURENT_WORKERS": "3"})
    assert loaded.warnings == (
        "environment: MAHAVISHNU_MAX_CONCURENT_WORKERS: is not a setting "
        "(did you mean 'MAHAVISHNU_MAX_CONCURRENT_WORKERS'?)",
    )


@pytest.mark.parametrize(
    "name",
    [
        "MAHAVISHNU_STATE_DIR",
        "MAHAVISHNU_PLUGINS",
        "MAHAVISHNU_SESSION_BUDDY_TOKEN",
        "MAHAVISHNU_TASK",
        "_MAHAVISHNU_COMPLETE",
    ],
)
def test_variables_that_are_used_elsewhere_are_left_alone(load, name):
    assert load(variables={name: "x"}).warnings == ()


def test_a_file_called_yml_is_a_warning(load, user):
    file = write(user / "mahavishnu.yml", "max_concurrent_workers: 3\n")
    assert load().warnings == (f"{file}: is not read: call it mahavishnu.yaml",)


def test_a_given_directory_without_settings_is_an_error(load, tmp_path):
    with pytest.raises(SettingsError, match=r"--config: .*nowhere: is not a directory with a "):
        load(config_dir=tmp_path / "nowhere")


def test_directories_are_listed_from_the_lowest_layer_to_the_highest(tmp_path, environ):
    found = settings_dirs(cwd=tmp_path, config_dir=tmp_path / "given", environ=environ)
    assert [directory.rank for directory in found] == ["shipped", "user", "project", "project", "given"]


def test_the_users_directory_follows_xdg_config_home_if_it_is_a_full_path():
    assert user_config_dir({"XDG_CONFIG_HOME": "/x"}) == Path("/x/mahavishnu")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="these have a place of their own")
def test_the_users_directory_is_below_home_without_xdg_config_home():
    assert user_config_dir({"XDG_CONFIG_HOME": "x", "HOME": "/h"}) == Path("/h/.config/mahavishnu")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="these have a place of their own")
def test_a_user_without_a_home_is_told_to_set_one(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(SettingsError, match=r"no home directory .* set HOME$"):
        user_config_dir({})


def test_importing_the_settings_loads_nothing_heavy():
    heavy = ("cattrs", "yaml", "tomlkit", "platformdirs", "tomllib", "difflib")
    imports = "import sys, mahavishnu_core.settings, mahavishnu_core.catalog"
    code = f"{imports}; print({{*{heavy}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
