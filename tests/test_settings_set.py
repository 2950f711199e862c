"""``config set``: one value changed in the user's TOML file, everything else left as it is."""

from __future__ import annotations

import stat

import pytest

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings import load_settings, set_value

BEFORE = """\
# my settings
max_concurrent_workers = 4   # a small machine

worker_default_type = "shell"
"""


@pytest.fixture
def environ(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path)}


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mahavishnu").mkdir()
    return tmp_path / "mahavishnu" / "mahavishnu.toml"


def refusal(key, text, environ):
    with pytest.raises(SettingsError) as caught:
        set_value(key, text, environ=environ)
    return caught.value.problems


def test_comments_order_and_spaces_stay(environ, file):
    file.write_text(BEFORE)
    set_value("max_concurrent_workers", "8", environ=environ)
    assert file.read_text() == BEFORE.replace("= 4 ", "= 8 ")


def test_a_new_key_comes_after_the_old_ones(environ, file):
    file.write_text(BEFORE.rstrip("\n"))
    set_value("workers_enabled", "no", environ=environ)
    assert file.read_text() == BEFORE + "workers_enabled = false\n"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("workers_enabled", "off", False),
        ("worker_timeout_seconds", "600", 600),
        ("max_worker_depth", "10", 10),
        ("worker_default_type", "terminal-claude", "terminal-claude"),
        ("pass_env", "GIT_*,EDITOR", ("GIT_*", "EDITOR")),
        ("pass_env", "", ()),
        ("session_buddy_url", "http://buddy.example:1/mcp", "http://buddy.example:1/mcp"),
        ("session_buddy_command", "", ""),
        ("session_buddy_command", "uvx 'my server'", "uvx 'my server'"),
        ("session_buddy_tool", "remember", "remember"),
        ("session_buddy_arguments", "{}", {}),
        (
            "session_buddy_arguments",
            '{"text": "a \\"{content}\\"\\n\\u0000", "n": {"deep": [1, {"x": 2.5}]}}',
            {"text": 'a "{content}"\n\0', "n": {"deep": [1, {"x": 2.5}]}},
        ),
    ],
)
def test_what_was_set_is_what_is_loaded(environ, tmp_path, key, text, value):
    written = set_value(key, text, environ=environ)
    loaded = load_settings(cwd=tmp_path, environ=environ)
    assert getattr(loaded.settings, key) == value
    assert loaded.origins[key] == str(written)


def test_values_below_a_key_and_others_do_not_get_into_each_others_way(environ, file, tmp_path):
    file.write_text(BEFORE)
    set_value("session_buddy_arguments", '{"text": "{content}", "n": {"x": 1}}', environ=environ)
    set_value("workers_enabled", "no", environ=environ)
    set_value("session_buddy_arguments", '{"text": "{id}"}', environ=environ)
    settings = load_settings(cwd=tmp_path, environ=environ).settings
    assert (settings.workers_enabled, settings.max_concurrent_workers) == (False, 4)
    assert settings.session_buddy_arguments == {"text": "{id}"}
    assert file.read_text().startswith("# my settings\nmax_concurrent_workers = 4   # a small machine\n")


def test_the_first_value_makes_a_private_file_in_a_private_directory(environ, tmp_path):
    written = set_value("workers_enabled", "true", environ=environ)
    assert written == tmp_path / "mahavishnu" / "mahavishnu.toml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def test_a_link_to_the_file_stays_a_link(environ, file, tmp_path):
    target = tmp_path / "dotfiles.toml"
    target.write_text(BEFORE)
    file.symlink_to(target)
    set_value("max_concurrent_workers", "8", environ=environ)
    assert file.is_symlink()
    assert "= 8 " in target.read_text()


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        ("speed", "3", "speed: is not a setting"),
        (
            "worker_timeout_secs",
            "60",
            "worker_timeout_secs: is not a setting (did you mean 'worker_timeout_seconds'?)",
        ),
        ("sp\x1b[2Jeed\nforged", "3", r"sp\x1b[2Jeed forged: is not a setting"),
        ("workers", "[]", "workers: is not set from here: write it into your ecosystem.yaml"),
        (
            "workers.a\nforged",
            "x",
            "workers.a forged: is not set from here: write it into your ecosystem.yaml",
        ),
        (
            "workers.terminal-claude.env",
            "x",
            "workers.terminal-claude.env: is not set from here: write it into your ecosystem.yaml",
        ),
        ("workers_enabled", "maybe", "workers_enabled: wanted true or false, got text"),
        ("max_concurrent_workers", "3.5", "max_concurrent_workers: wanted a whole number, got text"),
        ("max_concurrent_workers", "200", "max_concurrent_workers: must be from 1 to 100"),
        ("worker_timeout_seconds", "5", "worker_timeout_seconds: must be from 30 to 3600"),
        (
            "session_buddy_arguments",
            "text={content}",
            "session_buddy_arguments: wanted keys with values, got text: "
            """give a JSON object: '{"content": "{content}"}'""",
        ),
        (
            "session_buddy_arguments",
            '{"a": {"b": null}}',
            "session_buddy_arguments: holds null, which TOML does not have: leave that key out",
        ),
        (
            "session_buddy_arguments",
            r'{"a": "\ud800"}',
            "session_buddy_arguments: holds half a character (a lone surrogate): mend the text",
        ),
        (
            "session_buddy_tool",
            "a\udcff",
            "session_buddy_tool: holds half a character (a lone surrogate): mend the text",
        ),
        (
            "session_buddy_command",
            "uvx 'server",
            "session_buddy_command: must be empty or a command line, with every quote closed",
        ),
    ],
)
def test_a_wrong_key_or_value_is_refused_and_nothing_is_written(environ, file, key, text, line):
    file.write_text(BEFORE)
    assert refusal(key, text, environ) == (line,)
    assert file.read_text() == BEFORE


def test_a_file_that_would_still_be_wrong_is_not_written(environ, file):
    file.write_text("wrokers_enabled = true\n")
    (problem,) = refusal("max_concurrent_workers", "3", environ)
    assert problem == f"{file}: wrokers_enabled: is not a setting (did you mean 'workers_enabled'?)"
    assert file.read_text() == "wrokers_enabled = true\n"


def test_a_wrong_value_can_be_set_right(environ, file):
    file.write_text("worker_timeout_seconds = 5\n")
    set_value("worker_timeout_seconds", "50", environ=environ)
    assert file.read_text() == "worker_timeout_seconds = 50\n"


def test_a_file_that_is_not_toml_is_not_written(environ, file):
    file.write_text("max_concurrent_workers = \n")
    assert refusal("max_concurrent_workers", "3", environ) == (f"{file}:1: is not TOML: invalid value",)


def test_a_yaml_file_is_left_to_its_owner(environ, file):
    by_hand = file.with_name("mahavishnu.yaml")
    by_hand.write_text("# mine\n")
    assert refusal("workers_enabled", "no", environ) == (
        f"{by_hand}: is YAML, which 'set' does not write: change 'workers_enabled' there by hand",
    )
    assert not file.exists()


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    (problem,) = refusal("workers_enabled", "no", {"XDG_CONFIG_HOME": str(tmp_path / "file")})
    assert problem.endswith("mahavishnu.toml: cannot be written: Not a directory")


def test_no_other_file_is_left_beside(environ, file):
    set_value("workers_enabled", "no", environ=environ)
    assert list(file.parent.iterdir()) == [file]
