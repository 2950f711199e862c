"""Adds the server to a client's configuration: what belongs there, and how it is written without loss.

Where each client keeps it, and in which form, is as its own ``mcp add`` writes it or as it reads it: seen in
claude 2.1.197, codex 0.171.0, gemini 0.61.0, opencode 1.18.33 and qwen 0.15.10.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
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
            kept = _keep(file) if self.before is not None else None
            with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as made:
                made.write(self.after)
            if kept is not None:
                shutil.copymode(file, made.name)
            Path(made.name).replace(file)
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
        return _dump({self.key: {NAME: entry}}), _dump(whole)

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
        except (TOMLKitError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        return shown, tomlkit.dumps(document)


_CLIENTS: Mapping[str, _Client] = {
    "claude": _InJson(".claude.json", variable="CLAUDE_CONFIG_DIR", below_variable=".claude.json"),
    "codex": _InToml(),
    "gemini": _InJson(".gemini/settings.json"),
    "opencode": _InJson(
        ".config/opencode/opencode.json",
        key="mcp",
        variable="XDG_CONFIG_HOME",
        below_variable="opencode/opencode.json",
        is_list=True,
    ),
    "qwen": _InJson(".qwen/settings.json"),
}


def plan(client: str, environ: Mapping[str, str] = os.environ) -> Change:
    """What is to be changed for a client. Raises UsageError where its file cannot be read."""
    known = _CLIENTS[client]
    file = known.file(Path(environ.get("HOME") or Path.home()), environ)
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else None
        entry, after = known.added(before or "", launch(environ))
    except (OSError, ValueError, UsageError) as error:
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
    state_dir = environ.get("MAHAVISHNU_STATE_DIR")
    return Launch(command, ("mcp", "serve"), {"MAHAVISHNU_STATE_DIR": state_dir} if state_dir else {})


def _keep(file: Path) -> Path:
    """A copy beside the file, under a name that no earlier copy has."""
    kept = file.with_name(f"{file.name}.bak")
    number = 1
    while kept.exists():
        number += 1
        kept = file.with_name(f"{file.name}.bak{number}")
    shutil.copy2(file, kept)
    return kept


def _dump(value: JSON) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
