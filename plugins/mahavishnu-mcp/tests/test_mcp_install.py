"""Entries in the configuration of clients: each in its own form and place, and nothing else is lost."""

from __future__ import annotations

import json
import os
import stat
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import attrs
import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.errors import UsageError
from mahavishnu_mcp.commands import CLIENTS, mcp
from mahavishnu_mcp.install import NAME, plan

FILES = {
    "claude": ".claude.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "opencode": ".config/opencode/opencode.json",
    "qwen": ".qwen/settings.json",
}
IN_JSON = [client for client, file in FILES.items() if file.endswith(".json")]
PROGRAM = Path(sys.executable).with_name(NAME)
COMMAND = str(PROGRAM) if PROGRAM.exists() else NAME


@attrs.frozen
class Home:
    """A user's home directory."""

    path: Path

    def file(self, client: str) -> Path:
        return self.path / FILES[client]

    def put(self, client: str, text: str | bytes) -> Path:
        """What is in a client's configuration before."""
        file = self.file(client)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def install(self, client: str, *more: str, given: str | None = None) -> Result:
        return CliRunner().invoke(mcp, ["install", "--client", client, *more], given, standalone_mode=False)

    def everything(self) -> dict[str, bytes]:
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in list(os.environ):
        if name.startswith(("MAHAVISHNU_", "XDG_")) or name.endswith(("_HOME", "_CONFIG_DIR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def servers_in(file: Path) -> dict[str, object]:
    """What a client reads: the servers it is to start."""
    if file.suffix == ".toml":
        return tomllib.loads(file.read_text())["mcp_servers"]
    read = json.loads(file.read_text())
    return read["mcp"] if "opencode" in str(file) else read["mcpServers"]


def launched(entry: dict) -> tuple[list[str], dict[str, str]]:
    """The command and the variables of an entry, of whichever client."""
    if isinstance(entry["command"], list):
        return entry["command"], entry["environment"]
    return [entry["command"], *entry["args"]], entry["env"]


# --- the entry


def test_every_client_that_is_offered_is_known_here():
    assert sorted(FILES) == sorted(CLIENTS)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_new_file_holds_the_entry_and_is_the_users_alone(home, client):
    result = home.install(client, "--yes")
    assert (result.return_value, result.exception) == (0, None)
    assert result.stdout == f"written to {home.file(client)}\n"
    assert list(home.everything()) == [FILES[client]]
    command, variables = launched(servers_in(home.file(client))[NAME])
    assert command == [COMMAND, "mcp", "serve"]
    assert variables == {}
    assert stat.S_IMODE(home.file(client).stat().st_mode) == 0o600


def test_the_command_is_that_of_this_installation():
    pytest.importorskip("mahavishnu_cli")
    assert str(PROGRAM) == COMMAND


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("given", ["relative", "{home}/somewhere else"])
def test_a_state_directory_of_ones_own_goes_with_it(home, monkeypatch, client, given):
    monkeypatch.chdir(home.path)
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", given.format(home=home.path))
    home.install(client, "--yes")
    _, variables = launched(servers_in(home.file(client))[NAME])
    assert variables == {"MAHAVISHNU_STATE_DIR": str(home.path / given.format(home=home.path))}


def test_no_token_goes_with_it(home, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_MCP_TOKEN", "correct-horse-battery-staple")
    for client in CLIENTS:
        home.install(client, "--yes")
    assert b"correct-horse" not in b"".join(home.everything().values())


@pytest.mark.parametrize(
    ("client", "variable", "place"),
    [
        ("claude", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("codex", "CODEX_HOME", "config.toml"),
        ("gemini", "GEMINI_CLI_HOME", ".gemini/settings.json"),
        ("opencode", "XDG_CONFIG_HOME", "opencode/opencode.json"),
        ("qwen", "QWEN_HOME", "settings.json"),
    ],
)
def test_a_client_whose_files_are_elsewhere_is_found_there(home, monkeypatch, client, variable, place):
    monkeypatch.setenv(variable, str(home.path / "else"))
    home.install(client, "--yes")
    assert list(home.everything()) == [f"else/{place}"]


# --- what was there before

OTHERS = {
    "numbers": [1, -2.5, 1e300, 10**30, True, None],
    "texts": {"ünïcödé": '\U0001f600 \u2028 \\ " / \x7f', "": ""},
    "mcpServers": {"other": {"command": "x", "args": ["é"]}},
    "mcp": {"other": {"type": "remote", "url": "https://example"}},
}


@pytest.mark.parametrize("client", IN_JSON)
@pytest.mark.parametrize("indent", [2, 4, "\t"], ids=["two", "four", "tab"])
@pytest.mark.parametrize("end", ["\n", ""], ids=["newline", "no newline"])
def test_what_else_is_in_json_stays_byte_for_byte_in_the_usual_forms(home, client, indent, end):
    before = json.dumps(OTHERS, indent=indent, ensure_ascii=False) + end
    file = home.put(client, before)
    home.install(client, "--yes")
    after = file.read_text()
    assert json.loads(after)["texts"] == OTHERS["texts"]
    kept = after.splitlines(keepends=True)
    assert [
        line for line in before.splitlines(keepends=True) if line not in kept and line.strip() != "}"
    ] == []
    servers = servers_in(file)
    assert list(servers) == ["other", NAME]
    del servers[NAME]
    key = "mcp" if client == "opencode" else "mcpServers"
    assert json.dumps(json.loads(after) | {key: servers}, indent=indent, ensure_ascii=False) + end == before


def test_line_ends_and_halves_of_surrogate_pairs_stay(home):
    before = '{\r\n  "history": "cut \\ud83d",\r\n  "mcpServers": {}\r\n}\r\n'
    file = home.put("claude", before)
    assert home.install("claude", "--yes").exception is None
    after = file.read_bytes().decode()
    assert after.count("\n") == after.count("\r\n") > 4
    assert '"cut \\ud83d"' in after


TOML = dedent(
    """\
    # mine, do not touch
    model = "o9"   # the best

    [mcp_servers.other] # a comment
    command = 'x'
      args = [ "a" ,
        "b", # b
      ]

    [profiles."a b"]
    x = 0x10 # hex
    t = 1979-05-27T07:32:00Z
    """
)


@pytest.mark.parametrize(
    "before",
    [
        TOML,
        TOML.replace("\n", "\r\n"),
        TOML.replace("[mcp_servers.other]", "[else]"),
        TOML + '\n[mcp_servers.last]\ncommand = "y"\n',
        "mcp_servers = { other = { command = 'x' } } # in line\n",
        "[mcp_servers]\n# empty\n\n[z]\nx = 1\n",
        "# nothing but a comment\n",
    ],
    ids=["table", "line ends", "none", "out of order", "inline", "empty", "comment"],
)
def test_what_else_is_in_toml_stays_byte_for_byte(home, before):
    file = home.put("codex", before)
    assert home.install("codex", "--yes").exception is None
    after = file.read_bytes().decode()
    read = tomllib.loads(after)
    command, _ = launched(read["mcp_servers"].pop(NAME))
    assert command == [COMMAND, "mcp", "serve"]
    then = tomllib.loads(before)
    assert read == then | {"mcp_servers": then.get("mcp_servers", {})}
    if "in line" in before:
        assert "# in line" in after
        return
    rest = after
    for line in before.splitlines(keepends=True):  # each is there, in order
        assert line in rest
        rest = rest[rest.index(line) + len(line) :]


@settings(max_examples=30)
@given(
    before=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_json_of_any_kind_keeps_its_meaning(tmp_path_factory, before):
    home = Home(tmp_path_factory.mktemp("home"))
    home.put("qwen", json.dumps(before))
    change = plan("qwen", {"HOME": str(home.path)})
    change.write()
    after = json.loads(home.file("qwen").read_bytes())
    del after["mcpServers"][NAME]
    assert after == before | {"mcpServers": {}}


@pytest.mark.parametrize("client", CLIENTS)
def test_an_empty_file_counts_as_none(home, client):
    home.put(client, "")
    assert home.install(client, "--yes").exception is None
    assert NAME in servers_in(home.file(client))


@pytest.mark.parametrize("client", CLIENTS)
def test_an_older_entry_is_replaced(home, monkeypatch, client):
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", "/old")
    home.install(client, "--yes")
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", "/new")
    home.install(client, "--yes")
    (entry,) = servers_in(home.file(client)).values()
    assert launched(entry)[1] == {"MAHAVISHNU_STATE_DIR": "/new"}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_second_time_it_says_so_and_writes_nothing(home, client):
    home.install(client, "--yes")
    before = home.everything()
    result = home.install(client)  # does not even ask
    assert (result.return_value, result.stdout) == (0, f"{home.file(client)} has it already\n")
    assert home.everything() == before


@pytest.mark.parametrize("client", CLIENTS)
def test_also_where_the_entry_is_written_in_another_form(home, client):
    home.install(client, "--yes")
    file = home.file(client)
    entry = servers_in(file)[NAME]
    if client in IN_JSON:
        file.write_text(json.dumps(json.loads(file.read_text())))
    else:
        words = ", ".join(f"{name} = {json.dumps(value)}" for name, value in entry.items() if value)
        file.write_text(f"mcp_servers = {{ {NAME} = {{ {words}, env = {{}} }} }}")
    before = home.everything()
    assert home.install(client).stdout.endswith("has it already\n")
    assert home.everything() == before


# --- the file itself


@pytest.mark.parametrize("client", CLIENTS)
def test_what_was_there_is_kept_beside_it_and_no_earlier_copy_is_lost(home, monkeypatch, client):
    first = '{"a": 1}' if client in IN_JSON else "a = 1\n"
    file = home.put(client, first)
    versions = [first]
    for number in range(3):
        monkeypatch.setenv("MAHAVISHNU_STATE_DIR", f"/state{number}")
        result = home.install(client, "--yes")
        kept = file.with_name(file.name + (".bak" if number == 0 else f".bak{number + 1}"))
        assert result.stdout == f"written to {file}, as it was before: {kept}\n"
        assert kept.read_text() == versions[-1]
        versions.append(file.read_text())
    assert len(home.everything()) == 4


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666])
def test_the_mode_of_the_file_and_of_its_copy_stays(home, mode):
    file = home.put("claude", "{}")
    file.chmod(mode)
    home.install("claude", "--yes")
    for path in (file, file.with_name(".claude.json.bak")):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_stays_a_link(home):
    (home.path / "dotfiles").mkdir()
    target = home.path / "dotfiles/claude.json"
    target.write_text("{}")
    file = home.file("claude")
    file.symlink_to("dotfiles/claude.json")
    home.install("claude", "--yes")
    assert file.is_symlink()
    assert NAME in servers_in(target)
    assert target.with_name("claude.json.bak").read_text() == "{}"


def test_a_link_to_nothing_yet_is_followed(home):
    file = home.file("claude")
    file.symlink_to("dotfiles/claude.json")
    home.install("claude", "--yes")
    assert file.is_symlink()
    assert NAME in servers_in(home.path / "dotfiles/claude.json")


BROKEN = {
    "half": '{"mcpServers": {',
    "comments": '{\n  // mine\n  "mcpServers": {}\n}',
    "list": "[]",
    "text": '"mcpServers"',
    "list inside": '{"mcpServers": [], "mcp": []}',
    "text inside": '{"mcpServers": "x", "mcp": "x"}',
    "null inside": '{"mcpServers": null, "mcp": null}',
    "no text": b"\xff\xfe\x00",
    "mark": b"\xef\xbb\xbf{}",
    "deep": "[" * 200_000,
}
BROKEN_TOML = {
    "half": "[mcp_servers",
    "json": '{"mcp_servers": {}}',
    "text": 'mcp_servers = "x"',
    "list": "mcp_servers = []",
    "tables": "[[mcp_servers]]\nx = 1\n",
    "twice": "a = 1\na = 2\n",
    "dotted": "mcp_servers.other.command = 'x'\nz = 1\n",  # tomlkit would move z into our table
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("how", [[], ["--yes"]], ids=["asking", "--yes"])
@pytest.mark.parametrize(
    ("client", "text"),
    [
        *(pytest.param(client, BROKEN[kind], id=f"{client}-{kind}") for client in IN_JSON for kind in BROKEN),
        *(pytest.param("codex", BROKEN_TOML[kind], id=f"codex-{kind}") for kind in BROKEN_TOML),
    ],
)
def test_a_broken_file_is_said_on_one_line_and_stays_as_it_is(home, client, text, how):
    file = home.put(client, text)
    before = home.everything()
    result = home.install(client, *how, given="y\n")
    assert isinstance(result.exception, UsageError)
    assert len(str(result.exception).splitlines()) == 1
    assert str(file) in str(result.exception)
    assert "--print" in str(result.exception)
    assert home.everything() == before


def test_a_directory_in_its_place_is_said_on_one_line(home):
    home.file("claude").mkdir()
    result = home.install("claude", "--yes")
    assert isinstance(result.exception, UsageError)
    assert "Is a directory" in str(result.exception)


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_left(home):
    (home.path / ".qwen").write_text("a file")
    result = home.install("qwen", "--yes")
    assert isinstance(result.exception, UsageError)
    assert "cannot write" in str(result.exception)
    assert home.everything() == {".qwen": b"a file"}


def test_a_full_disk_loses_nothing(home, monkeypatch):
    file = home.put("claude", '{"a": 1}')

    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    result = home.install("claude", "--yes")
    assert isinstance(result.exception, UsageError)
    assert "No space left on device" in str(result.exception)
    assert file.read_text() == '{"a": 1}'
    assert set(home.everything()) == {".claude.json", ".claude.json.bak"}


@pytest.mark.parametrize("change", [lambda file: file.write_text('{"new": 1}'), lambda file: file.unlink()])
def test_what_its_client_writes_meanwhile_is_not_lost(home, change: Callable[[Path], object]):
    file = home.put("claude", "{}")
    planned = plan("claude")
    change(file)
    before = home.everything()
    with pytest.raises(UsageError, match="has changed meanwhile, and stays as it is"):
        planned.write()
    assert home.everything() == before


# --- asking and printing


@pytest.mark.parametrize("answer", ["n\n", "\n", "no\n"])
def test_no_is_heeded(home, answer):
    home.put("claude", "{}")
    before = home.everything()
    result = home.install("claude", given=answer)
    assert isinstance(result.exception, UsageError)
    assert (str(result.exception), result.exception.exit_status) == ("nothing was written", 2)
    assert home.everything() == before


@pytest.mark.parametrize("given", ["", "perhaps\n"])
def test_where_nobody_answers_nothing_is_written_and_how_to_do_without_is_said(home, given):
    before = home.everything()
    result = home.install("claude", given=given)
    assert isinstance(result.exception, UsageError)
    said = "nothing was written, as nobody answers: pass --yes to write without being asked"
    assert str(result.exception) == said
    assert result.stderr.rstrip(" ").endswith("\n")  # what is said begins a line
    assert home.everything() == before


def test_an_interrupt_at_the_question_stays_one(home, monkeypatch):
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", interrupt)
    with pytest.raises(click.Abort):
        mcp.main(["install", "--client", "claude"], standalone_mode=False)
    assert home.everything() == {}


def test_yes_is_asked_for_with_the_entry_shown(home):
    result = home.install("claude", given="y\n")
    assert result.exception is None
    assert f'"{NAME}": {{' in result.stderr
    assert "Write it? [y/N]" in result.stderr
    assert NAME in servers_in(home.file("claude"))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("text", [None, "\x00 broken"])
def test_printing_writes_nothing_and_prints_what_would_be_written(home, client, text):
    if text is not None:
        home.put(client, text)
    before = home.everything()
    result = home.install(client, "--print")
    assert (result.return_value, result.stderr) == (0, "")
    assert home.everything() == before
    home.put(client, result.stdout)
    assert home.install(client).stdout.endswith("has it already\n")


def test_a_client_that_is_not_known_is_wrong_usage(home):
    result = CliRunner().invoke(mcp, ["install", "--client", "emacs"])
    assert result.exit_code == 2
    assert home.everything() == {}


# --- serving


@pytest.mark.parametrize("transport", [[], ["--transport", "stdio"]], ids=["by default", "asked for"])
@pytest.mark.parametrize(
    ("option", "value"), [("--host", "127.0.0.1"), ("--port", "8765"), ("--allowed-host", "here")]
)
def test_where_to_listen_is_refused_where_nobody_listens(transport, option, value):
    """Also for the value that it has anyway. Nothing is read of the settings."""
    result = CliRunner().invoke(mcp, ["serve", *transport, option, value], standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == f"{option} is for HTTP: add --transport http, or leave it out"
