"""Every way in which settings can be wrong, and the one line that says so."""

from __future__ import annotations

import os

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings import load_settings


@pytest.fixture
def user(tmp_path):
    directory = tmp_path / "xdg" / "mahavishnu"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def problems(tmp_path):
    """The problems that loading comes to, with the user's directory left out of them."""

    def problems(**variables):
        environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), **variables}
        with pytest.raises(SettingsError) as caught:
            load_settings(cwd=tmp_path / "work", environ=environ)
        return [line.replace(f"{tmp_path}/xdg/mahavishnu/", "") for line in caught.value.problems]

    return problems


AN_ADDRESS = "must be an http:// or https:// address with a host, and no user name or password in it"
MAIN = {
    "max_concurent_workers: 3": (
        "1: max_concurent_workers: is not a setting (did you mean 'max_concurrent_workers'?)"
    ),
    "zzz: 3": "1: zzz: is not a setting",
    "workers: []": "1: workers: belongs in ecosystem.yaml",
    "max_concurrent_workers: 2.7": (
        "1: max_concurrent_workers: wanted a whole number, got a number with a fraction"
    ),
    "max_concurrent_workers: '3'": "1: max_concurrent_workers: wanted a whole number, got text",
    "max_concurrent_workers: true": "1: max_concurrent_workers: wanted a whole number, got true or false",
    "max_concurrent_workers: 5m": "1: max_concurrent_workers: wanted a whole number, got text",
    "max_concurrent_workers:": "1: max_concurrent_workers: wanted a whole number, got nothing",
    "workers_enabled: 1": "1: workers_enabled: wanted true or false, got a whole number",
    "worker_timeout_seconds: 29": "1: worker_timeout_seconds: must be from 30 to 3600",
    "worker_timeout_seconds: 3601": "1: worker_timeout_seconds: must be from 30 to 3600",
    "worker_timeout_seconds: -1": "1: worker_timeout_seconds: must be from 30 to 3600",
    "worker_timeout_seconds: 1000000000": "1: worker_timeout_seconds: must be from 30 to 3600",
    "max_worker_depth: 0": "1: max_worker_depth: must be from 1 to 10",
    "max_worker_depth: 11": "1: max_worker_depth: must be from 1 to 10",
    "worker_default_type: 3": "1: worker_default_type: wanted text, got a whole number (put it in quotes)",
    "worker_default_type: ../x": (
        "1: worker_default_type: must be a name of at most 64 lower-case letters, digits, '_', '.' and '-', "
        "beginning with a letter"
    ),
    "session_buddy_arguments: '{}'": "1: session_buddy_arguments: wanted keys with values, got text",
    "session_buddy_url: me@host": f"1: session_buddy_url: {AN_ADDRESS}",
    "pass_env: HOME": "1: pass_env: wanted a list, got text",
    "pass_env: ['*']": "1: pass_env[0]: must be the name of a variable, or its beginning and '*': GIT_*",
    "workers_enabled: true\n\nworkers_enabled: false": "3: workers_enabled: is here twice, first on line 1",
    "pass_env: !!python/object/apply:os.system [x]": "1: pass_env: tags (!name) are not allowed",
    "worker_timeout_seconds: !!int x": (
        "1: worker_timeout_seconds: is not the number or truth value that it looks like"
    ),
    "? [a]\n: 1": "1: has a key that is not text",
    "pass_env: &a [HOME, *a]": "1: pass_env[1]: aliases (*name) are not read here: write the value out",
    "workers_enabled:\n\ttrue": "2: is not YAML: indent with spaces, not with tabs",
    "\ufeffworkers_enabled: true": "1: begins with a byte order mark: save it as UTF-8 without one",
    "workers_enabled: [": "2: is not YAML: did not find expected node content",
    "just words": "1: must be keys with values: KEY: VALUE",
    "- a\n- b": "1: must be keys with values: KEY: VALUE",
    "--- {}\n--- {}": "2: holds more than one document ('---')",
    "max_concurrent_workers: 1" + ":59" * 20_000: (
        "1: max_concurrent_workers: is not the number or truth value that it looks like"
    ),
    "[" * 500_000: "1: is nested too deep",
    "- " * 500_000: "1: is nested too deep",
    "pass_env: [" + "x, " * 300_000 + "]": "1: holds more than 10000 values",
    "pass_env: [" + "x, " * 1001 + "]": "1: pass_env: holds more than 1000 items",
}


@pytest.mark.parametrize(("text", "line"), MAIN.items(), ids=lambda text: text[:40])
def test_a_wrong_mahavishnu_yaml_is_one_line(user, problems, text, line):
    (user / "mahavishnu.yaml").write_text(f"{text}\n")
    assert problems() == [f"mahavishnu.yaml:{line}"]


ENTRY = {
    "comand_template: x": "comand_template: is not known here (did you mean 'command_template'?)",
    'command_template: "x \'y"': (
        "command_template: must be a command line: a program and its arguments, with every quote closed"
    ),
    "command_template: ''": (
        "command_template: must be a command line: a program and its arguments, with every quote closed"
    ),
    "progress_tracking: stream_json": (
        "progress_tracking: wanted one of 'stream-json', 'lines', 'socket' (did you mean 'stream-json'?)"
    ),
    "timeout_seconds: 0": "timeout_seconds: must be more than 0",
    "idle_seconds: .inf": "idle_seconds: must be more than 0",
    "idle_seconds: .nan": "idle_seconds: must be more than 0",
    "timeout_seconds: fast": "timeout_seconds: wanted a number, got text",
    "timeout_seconds:": "timeout_seconds: wanted a number, got nothing",
    f"timeout_seconds: 1{'0' * 400}": "timeout_seconds: is too large a number",
    "aliases: container": "aliases: wanted a list, got text",
    "env: [A]": "env: wanted keys with values, got a list",
    "env: {TOKEN: 12345}": "env.TOKEN: wanted text, got a whole number (put it in quotes)",
    "env: {NO: yes}": "env.NO: wanted text, got true or false (put it in quotes)",
    "env: {a-b: x}": "env.a-b: must be the name of a variable: letters, digits and '_'",
}


@pytest.mark.parametrize(("text", "line"), ENTRY.items(), ids=lambda text: text[:40])
def test_a_wrong_entry_of_a_worker_is_one_line(user, problems, text, line):
    (user / "ecosystem.yaml").write_text(f"workers:\n  - name: x\n    {text}\n")
    assert problems() == [f"ecosystem.yaml:3: workers[0].{line}"]


def test_an_entry_must_have_a_name(user, problems):
    (user / "ecosystem.yaml").write_text("workers:\n  - agent: shell\n  - shell\n")
    assert problems() == [
        "ecosystem.yaml:2: workers[0].name: is missing",
        "ecosystem.yaml:3: workers[1]: wanted keys with values, got text",
    ]


def test_one_name_must_not_stand_twice_in_one_file(user, problems):
    (user / "ecosystem.yaml").write_text("workers:\n  - name: x\n  - name: x\n")
    assert problems() == ["ecosystem.yaml:3: workers[1].name: 'x' is here twice"]


def test_what_belongs_in_the_other_file_is_said(user, problems):
    (user / "ecosystem.yaml").write_text("max_concurrent_workers: 3\n")
    assert problems() == [
        "ecosystem.yaml:1: max_concurrent_workers: belongs in mahavishnu.yaml or mahavishnu.toml"
    ]


TOML = {
    "workers_enabled = 1": ": workers_enabled: wanted true or false, got a whole number",
    "worker_timeout_seconds = 1979-05-27": (
        ": worker_timeout_seconds: wanted a whole number, got a date or time"
    ),
    "\n\nworkers_enabled = maybe": ":3: is not TOML: invalid value",
    "workers_enabled = ": ":1: is not TOML: invalid value",
    "pass_env = [": ": is not TOML: invalid value",
    "a = 1\na = 2": ":2: is not TOML: cannot overwrite a value",
    "pass_env = " + "[" * 200_000: ": is nested too deep",
    "a." * 100_000 + "b = 1": ":1: has more than 16 dots on one line",
    "[a.b.c.d.e.f.g.h.i.j.k.l]\n" * 30_000: ": has more than 10000 dots",
}


@pytest.mark.parametrize(("text", "line"), TOML.items(), ids=lambda text: text[:40])
def test_a_wrong_mahavishnu_toml_is_one_line(user, problems, text, line):
    (user / "mahavishnu.toml").write_text(f"{text}\n")
    assert problems() == [f"mahavishnu.toml{line}"]


VARIABLES = {
    "WORKERS_ENABLED": ("perhaps", "wanted true or false, got text"),
    "MAX_CONCURRENT_WORKERS": ("2.7", "wanted a whole number, got text"),
    "WORKER_TIMEOUT_SECONDS": ("5", "must be from 30 to 3600"),
    "PASS_ENV": ("A,*", "must be the name of a variable, or its beginning and '*': GIT_*"),
    "SESSION_BUDDY_COMMAND": ("uvx 'server", "must be empty or a command line, with every quote closed"),
}
ADDRESSES = [
    "127.0.0.1:8678/mcp",
    "ftp://127.0.0.1/mcp",
    "file:///etc/passwd",
    "http://",
    "http:///mcp",
    "http://:8678/mcp",
    "http://me@host/mcp",
    "https://me:sesame@host/mcp",
    "http://host:0/mcp",
    "http://host:99999/mcp",
    "http://host:port/mcp",
    "http://[::1/mcp",
    "http://ho st/mcp",
    "http://host/m\tcp",
]
AN_OBJECT = """: give a JSON object: '{"content": "{content}"}'"""
ARGUMENTS = [
    ("content={content}", f"wanted keys with values, got text{AN_OBJECT}"),
    ('{"content": ', f"wanted keys with values, got text{AN_OBJECT}"),
    ('["{content}"]', f"wanted keys with values, got a list{AN_OBJECT}"),
    ("7", f"wanted keys with values, got a whole number{AN_OBJECT}"),
    ("null", f"wanted keys with values, got nothing{AN_OBJECT}"),
    ("[" * 100_000, f"wanted keys with values, got text{AN_OBJECT}"),
    (
        '{"a": NaN}',
        "must be text, a finite number, true or false, a list, or keys with values, at most 16 deep",
    ),
    (
        '{"a": ' + "[" * 800 + "]" * 800 + "}",
        "must be text, a finite number, true or false, a list, or keys with values, at most 16 deep",
    ),
]
WRONG = [
    *((name, *fault) for name, fault in VARIABLES.items()),
    *(("SESSION_BUDDY_URL", address, AN_ADDRESS) for address in ADDRESSES),
    *(("SESSION_BUDDY_ARGUMENTS", *fault) for fault in ARGUMENTS),
]


@pytest.mark.parametrize(("name", "value", "fault"), WRONG, ids=lambda text: text[:40])
def test_a_wrong_variable_is_one_line_without_its_value(problems, name, value, fault):
    name = f"MAHAVISHNU_{name}"
    assert problems(**{name: value}) == [f"environment: {name}: {fault}"]


def test_a_wrong_value_of_the_command_line_is_one_line(tmp_path):
    with pytest.raises(SettingsError) as caught:
        load_settings(
            cwd=tmp_path,
            environ={"XDG_CONFIG_HOME": str(tmp_path)},
            overrides={"worker_timeout_seconds": 5, "speed": 1},
        )
    assert caught.value.problems == (
        "command line: worker_timeout_seconds: must be from 30 to 3600",
        "command line: speed: is not a setting",
    )


def test_i1_the_faults_of_all_files_come_at_once_in_the_order_of_their_lines(user, problems, tmp_path):
    (user / "mahavishnu.yaml").write_text("zzz: 1\nworkers_enabled: 3\nworker_timeout_seconds: 1\n")
    (user / "ecosystem.yaml").write_text("workers: 3\n")
    (tmp_path / "work" / "settings").mkdir(parents=True)
    (tmp_path / "work" / "settings" / "mahavishnu.yaml").write_text("[\n")
    found = problems(MAHAVISHNU_WORKERS_ENABLED="x")
    assert [line.split(": ")[0].rpartition("/")[2] for line in found] == [
        "mahavishnu.yaml:1",
        "mahavishnu.yaml:2",
        "mahavishnu.yaml:3",
        "ecosystem.yaml:1",
        "mahavishnu.yaml:2",
        "environment",
    ]


def test_more_faults_than_anybody_reads_are_cut_and_that_is_said(user, problems):
    (user / "mahavishnu.yaml").write_text("".join(f"key{number}: 1\n" for number in range(60)))
    found = problems()
    assert len(found) == 51
    assert "mahavishnu.yaml: has more faults than are listed here" in found


def test_no_value_of_a_variable_for_a_worker_is_ever_shown(user, problems):
    (user / "ecosystem.yaml").write_text("workers:\n  - {name: x, env: {KEY: [hunter2], B: {hunter2: 1}}}\n")
    assert not any("hunter2" in line for line in problems())


def test_a_key_cannot_write_to_the_terminal(user, problems):
    (user / "mahavishnu.yaml").write_text('"\\e[31mred\\nforged: line": 1\n')
    assert problems() == ["mahavishnu.yaml:1: \\x1b[31mred forged: line: is not a setting"]


def test_yaml_beside_toml_is_an_error(user, problems):
    (user / "mahavishnu.yaml").write_text("{}")
    (user / "mahavishnu.toml").write_text("")
    assert problems() == ["mahavishnu.yaml: mahavishnu.toml lies beside it: keep one of the two"]


def test_what_is_not_utf8_is_an_error_with_its_line(user, problems):
    (user / "mahavishnu.yaml").write_bytes(b"workers_enabled: true\n# \xff\n")
    assert problems() == ["mahavishnu.yaml:2: is not UTF-8 text"]


def test_a_zero_byte_is_an_error(user, problems):
    (user / "mahavishnu.yaml").write_bytes(b"a\0b")
    assert problems() == [
        "mahavishnu.yaml: is not YAML: it holds a character that is not allowed in a text file"
    ]


def test_a_file_of_more_than_a_mebibyte_is_refused(user, problems):
    (user / "mahavishnu.yaml").write_text("#" * (1 << 20) + "\n")
    assert problems() == ["mahavishnu.yaml: is larger than 1 MiB, which no settings file needs to be"]


def test_a_file_that_anybody_may_change_is_refused(user, problems):
    (user / "mahavishnu.yaml").write_text("{}")
    (user / "mahavishnu.yaml").chmod(0o646)
    assert problems() == [
        "mahavishnu.yaml: anybody on this machine may change it, so it is not obeyed: run 'chmod o-w' on it"
    ]


def test_a_named_pipe_is_refused_and_not_waited_for(user, problems):
    os.mkfifo(user / "mahavishnu.yaml", 0o600)
    assert problems() == ["mahavishnu.yaml: is not a regular file"]


def test_a_directory_that_cannot_be_looked_into_is_an_error(user, problems):
    user.rmdir()
    user.symlink_to(user)
    assert problems() == ["mahavishnu.yaml: cannot be read: Too many levels of symbolic links"]


def test_a_directory_of_that_name_is_refused(user, problems):
    (user / "ecosystem.yaml").mkdir()
    assert problems() == ["ecosystem.yaml: is not a regular file"]


def test_a_file_that_cannot_be_read_is_an_error(user, problems):
    (user / "mahavishnu.yaml").symlink_to("mahavishnu.yaml")
    assert problems() == ["mahavishnu.yaml: cannot be read: Too many levels of symbolic links"]


def test_yaml_without_its_c_library_gives_the_same_lines(user, problems, monkeypatch):
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    (user / "mahavishnu.yaml").write_text("zzz: 1\nzzz: 2\n")
    (user / "ecosystem.yaml").write_text("[" * 100_000)
    assert problems() == [
        "mahavishnu.yaml:1: zzz: is not a setting",
        "mahavishnu.yaml:2: zzz: is here twice, first on line 1",
        "ecosystem.yaml:1: is nested too deep",
    ]


KEYS = [
    "name",
    "agent",
    "env",
    "pass_env",
    "aliases",
    "timeout_seconds",
    "workers",
    "roles",
    "workers_enabled",
]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
DATA = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | PLAIN, inner, max_size=4)
    ),
    max_leaves=12,
)
YAML = st.text() | st.text("{}[]:,-&*!?|>'\"# \n\taA01.%@`<=~") | DATA.map(yaml.safe_dump)


@pytest.mark.thorough
@given(main=YAML, ecosystem=YAML)
@example(main="!!timestamp x", ecosystem="workers: !!set {a}")
@example(main="? ? a", ecosystem="!!map []")
def test_i2_whatever_a_file_holds_settings_load_or_a_settings_error_says_why(
    tmp_path_factory, main, ecosystem
):
    home = tmp_path_factory.getbasetemp() / "any-yaml"
    (home / "mahavishnu").mkdir(parents=True, exist_ok=True)
    (home / "mahavishnu" / "mahavishnu.yaml").write_text(main, errors="surrogatepass")
    (home / "mahavishnu" / "ecosystem.yaml").write_text(ecosystem, errors="surrogatepass")
    try:
        said = load_settings(cwd=home / "nowhere", environ={"XDG_CONFIG_HOME": str(home)}).warnings
    except SettingsError as error:
        said = error.problems or ("",)
    assert all(line and "\n" not in line for line in said)
