"""Adds the server to a client's configuration: what belongs there, and how it is written without loss.

Where each client keeps it, and in which form, is as its own ``mcp add`` writes it or as it reads it: seen in
claude 2.1.197, codex 0.171.0, gemini 0.61.0, opencode 1.18.33 and qwen 0.15.10.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import attrs

from mahavishnu_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.models import JSON

NAME = "mahavishnu"


@attrs.frozen
class Launch:
    """How a client starts the server."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]


@attrs.frozen
class Change:
    """A configuration file, as it is and as it is to be."""

    file: Path
    entry: str
    """What is added, in the file's own form."""
    before: str | None
    after: str

    @property
    def is_there_already(self) -> bool:
        return self.before is not None and self.before == self.after

    def write(self) -> Path | None:
        """Write the file, whole or not at all; where it is kept as it was before, None for a new one.

        Raises UsageError where it cannot be written.
        """
        file = self.file.resolve()  # a link to it stays one
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if _read(file) != self.before:  # its client runs, and writes it too
                raise UsageError(f"{str(file)!r} has changed meanwhile, and stays as it is: try again")
            kept = _keep(file) if self.before is not None else None
            _replace(file, self.after.encode())
        except OSError as error:
            raise UsageError(f"cannot write {str(file)!r}: {error.strerror}") from error
        return kept


class _Client(Protocol):
    """A client whose configuration we know."""

    def file(self, home: Path, environ: Mapping[str, str]) -> Path: ...

    def added(self, before: str, launch: Launch) -> tuple[str, str]:
        """What is added, and the whole file with it. Raises ValueError or UsageError where it cannot be."""
        ...


@attrs.frozen
class _InJson:
    """An object in a JSON file, under a key of that client."""

    place: str
    """The file, below the home directory or that of ``variable``."""
    key: str = "mcpServers"
    variable: str = ""
    below_variable: str = ""
    is_list: bool = False
    """Whether the command and its arguments are one list."""

    def file(self, home: Path, environ: Mapping[str, str]) -> Path:
        given = environ.get(self.variable)
        return Path(given) / self.below_variable if given else home / self.place

    def added(self, before: str, launch: Launch) -> tuple[str, str]:
        whole = json.loads(before) if before.strip() else {}
        if not isinstance(whole, dict) or not isinstance(whole.get(self.key, {}), dict):
            raise UsageError(f"it is no object with an object {self.key!r}")
        entry = self._entry(launch)
        servers = cast("dict[str, JSON]", whole.setdefault(self.key, {}))
        if servers.get(NAME) == entry:
            return _dump({self.key: {NAME: entry}}), before
        servers[NAME] = entry
        return _dump({self.key: {NAME: entry}}), _dump(whole, before or "\n")

    def _entry(self, launch: Launch) -> dict[str, JSON]:
        env: dict[str, JSON] = dict(launch.env)
        if self.is_list:
            command: list[JSON] = [launch.command, *launch.args]
            return {"type": "local", "command": command, "enabled": True, "environment": env}
        return {"command": launch.command, "args": [*launch.args], "env": env}


@attrs.frozen
class _InToml:
    """A table in codex's file; its comments stay."""

    def file(self, home: Path, environ: Mapping[str, str]) -> Path:
        return Path(environ.get("CODEX_HOME") or home / ".codex") / "config.toml"

    def added(self, before: str, launch: Launch) -> tuple[str, str]:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        entry = {"command": launch.command, "args": [*launch.args], "env": dict(launch.env)}
        shown = tomlkit.dumps({"mcp_servers": {NAME: entry}})
        try:
            document = tomlkit.parse(before)
            servers = document.setdefault("mcp_servers", tomlkit.table(is_super_table=True))
            if servers.get(NAME) == entry:
                return shown, before
            servers[NAME] = entry
            after = tomlkit.dumps(document)
            due = tomllib.loads(before)
            due.setdefault("mcp_servers", {})[NAME] = entry
        except (TOMLKitError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        if tomllib.loads(after) != due:  # seen with dotted keys in tomlkit 0.15
            raise ValueError("it is written in a form that nothing can be added to")
        return shown, after


_CLIENTS: Mapping[str, _Client] = {
    "claude": _InJson(".claude.json", variable="CLAUDE_CONFIG_DIR", below_variable=".claude.json"),
    "codex": _InToml(),
    "gemini": _InJson(
        ".gemini/settings.json", variable="GEMINI_CLI_HOME", below_variable=".gemini/settings.json"
    ),
    "opencode": _InJson(
        ".config/opencode/opencode.json",
        key="mcp",
        variable="XDG_CONFIG_HOME",
        below_variable="opencode/opencode.json",
        is_list=True,
    ),
    "qwen": _InJson(".qwen/settings.json", variable="QWEN_HOME", below_variable="settings.json"),
}


def plan(client: str, environ: Mapping[str, str] = os.environ) -> Change:
    """What is to be changed for a client. Raises UsageError where its file cannot be read."""
    known = _CLIENTS[client]
    file = known.file(Path(environ.get("HOME") or Path.home()), environ)
    try:
        before = _read(file)
        entry, after = known.added(before or "", launch(environ))
    except (OSError, ValueError, RecursionError, UsageError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{str(file)!r} cannot be read, and stays as it is ({why}): mend it, or add by hand what "
            f"'mahavishnu mcp install --client {client} --print' shows"
        ) from error
    return Change(file, entry, before, after)


def shown(client: str, environ: Mapping[str, str] = os.environ) -> str:
    """What belongs into a client's file, whatever is in it now."""
    return _CLIENTS[client].added("", launch(environ))[0]


def launch(environ: Mapping[str, str]) -> Launch:
    """This installation's own command; where state is kept elsewhere than usual, with that."""
    beside = Path(sys.executable).with_name(NAME)
    command = str(beside) if beside.exists() else NAME
    given = environ.get("MAHAVISHNU_STATE_DIR")
    env = {"MAHAVISHNU_STATE_DIR": str(Path(given).absolute())} if given else {}
    return Launch(command, ("mcp", "serve"), env)


def _read(file: Path) -> str | None:
    """The text of a file, its line ends as they are; None where there is none."""
    return file.read_bytes().decode() if file.exists() else None


def _keep(file: Path) -> Path:
    """A copy beside the file, under a name that no earlier copy has."""
    kept = file.with_name(f"{file.name}.bak")
    number = 1
    while kept.exists():
        number += 1
        kept = file.with_name(f"{file.name}.bak{number}")
    shutil.copy2(file, kept)
    return kept


def _replace(file: Path, content: bytes) -> None:
    made = Path(tempfile.mkdtemp(dir=file.parent, prefix=f".{NAME}")) / file.name
    try:
        made.touch(0o600)
        made.write_bytes(content)
        if file.exists():
            shutil.copymode(file, made)
        made.replace(file)
    finally:
        shutil.rmtree(made.parent)


def _dump(value: JSON, like: str = "\n") -> str:
    """As JSON, indented and ended like an earlier text."""
    indented = re.search(r"^([ \t]+)\S", like, re.MULTILINE)
    text = json.dumps(value, indent=indented[1] if indented else 2, ensure_ascii=False)
    text += "\n" if like.endswith("\n") else ""
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is an escape, as it was
    return text.replace("\n", "\r\n") if "\r\n" in like else text
