"""``config``: the settings shown, checked, trusted, changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import click

from mahavishnu_cli.completing import setting_names
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import complain, emit, emit_json, say
from mahavishnu_cli.table import table
from mahavishnu_cli.words import counted
from mahavishnu_core import settings as core
from mahavishnu_core.app import here
from mahavishnu_core.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mahavishnu_cli.start import Start
    from mahavishnu_core.models import JSON

_DEFAULT = "built in"
_ITEMS = ("roles", "workers")


@click.command(
    "show", epilog=example("mahavishnu config show", "mahavishnu config show --json | jq .origins")
)
@json_option("settings and origins")
@click.pass_obj
def show(start: Start, as_json: bool) -> int:
    """Show the settings that hold, and where each comes from."""
    values, loaded = _values(start.settings), start.app.loaded
    start.app.read()
    if as_json:
        emit_json({"settings": values, "origins": {**loaded.origins}})
    else:
        emit(table(("KEY", "FROM", "VALUE"), _rows(values, loaded)))
    return 0


def _values(found: core.Settings) -> dict[str, JSON]:
    """All settings as JSON. The values of variables, which may be secret, are left out."""
    fields = {field.name: getattr(found, field.name) for field in attrs.fields(core.Settings)}
    items = {name: [_item(item) for item in fields[name]] for name in _ITEMS}
    return {name: _plain(value) for name, value in (fields | items).items()}


def _item(item: core.Role | core.WorkerOverride) -> JSON:
    named = {name: value for name, value in attrs.asdict(item).items() if value not in (None, ())}
    if "env" in named:
        named["env"] = dict.fromkeys(named["env"], "[redacted]")
    return {name: _plain(value) for name, value in named.items()}


def _plain(value: JSON | tuple[JSON, ...]) -> JSON:
    return list(value) if isinstance(value, tuple) else value


def _rows(values: Mapping[str, JSON], loaded: core.Loaded) -> Iterator[tuple[str, str, str]]:
    """Key, origin and value; what an item says as ``workers.NAME.KEY``."""
    for key, value in values.items():
        if key not in _ITEMS:
            yield key, loaded.origins.get(key, _DEFAULT), _text(value)
            continue
        for item in cast("list[dict[str, JSON]]", value):
            name = str(item.pop("name"))
            options = cast("dict[str, JSON]", item.pop("options", {}))
            for field, said in item.items():
                yield f"{key}.{name}.{field}", loaded.origins.get(f"{key}.{name}", _DEFAULT), _text(said)
            for option, said in options.items():
                yield f"{key}.{name}.options.{option}", str(loaded.sources[name, option].path), _text(said)


def _text(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)


@click.command("check", epilog=example("mahavishnu config check && echo fine"))
@click.pass_obj
def check(start: Start) -> int:
    """Check all settings files.

    Every fault is said, with its file and key; exit status 2 if there is one, 3 if a worker type that they
    name cannot be used since its plugin is missing.
    """
    found, types = start.settings, start.catalog.entries
    start.catalog.get(found.worker_default_type)
    own = _named_by_user(start)
    unusable = [entry for entry in types if entry.type.name in own and entry.unavailable]
    for entry in unusable:
        complain(f"worker type {entry.type.name!r} is not available: {entry.unavailable}")
    if unusable:
        return MissingError.exit_status
    files = [path for directory in _directories(start) for path in _files(directory)]
    emit(f"the settings are right: {counted(len(files), 'file')}, {counted(len(types), 'worker type')}")
    return 0


def _named_by_user(start: Start) -> set[str]:
    """The worker types that settings other than the shipped ones speak of."""
    shipped = str(_directories(start)[0].path)
    origins = start.app.loaded.origins.items()
    found = {key: path for key, path in origins if key.startswith("workers.")}
    return {key.partition(".")[2] for key, path in found.items() if not path.startswith(shipped)}


@click.command("path", epilog=example("mahavishnu config path", "mahavishnu config path --json"))
@json_option("the directories")
@click.pass_obj
def path(start: Start, as_json: bool) -> int:
    """List the directories in which settings are looked for.

    What stands in one holds over what stands in those above it.
    """
    directories = _directories(start)
    if as_json:
        found: list[JSON] = [
            {"rank": each.rank, "path": str(each.path), "files": [str(file) for file in _files(each)]}
            for each in directories
        ]
        emit_json({"directories": found})
        return 0
    rows = [
        (each.rank, str(each.path), ", ".join(file.name for file in _files(each)) or "-")
        for each in directories
    ]
    emit(table(("WHOSE", "DIRECTORY", "FILES"), rows))
    return 0


def _directories(start: Start) -> tuple[core.SettingsDir, ...]:
    return core.settings_dirs(cwd=here(), config_dir=start.config_path, environ=os.environ)


def _files(directory: core.SettingsDir) -> list[Path]:
    names = ("mahavishnu.yaml", "mahavishnu.toml", "ecosystem.yaml")
    return [directory.path / name for name in names if (directory.path / name).is_file()]


@click.command("trust", epilog=example("cat .mahavishnu/ecosystem.yaml", "mahavishnu config trust"))
@click.pass_obj
def trust(start: Start) -> int:
    """Trust the settings of this project as they are now.

    A project's files may not say what runs, what it gets to see, or where results go, until you have read and
    trusted them; when one of them changes, it has to be trusted anew.
    """
    files = start.app.loaded.untrusted
    core.trust(files, environ=os.environ)
    for file in files:
        emit(f"trusted {file}")
    if not files:
        say("nothing in this directory waits to be trusted")
    return 0


@click.command(
    "set",
    epilog=example(
        "mahavishnu config set worker_default_type terminal-claude",
        "mahavishnu config set max_concurrent_workers 4",
    ),
)
@click.argument("key", shell_complete=setting_names)
@click.argument("value")
def set_value(key: str, value: str) -> int:
    """Change a setting in your own file.

    Its comments and its order stay.
    """
    emit(f"set {key} in {core.set_value(key, value, environ=os.environ)}")
    variable = core.variable_of(key)
    if variable in os.environ:
        complain(f"note: {variable} stands over it as long as it is set")
    return 0
