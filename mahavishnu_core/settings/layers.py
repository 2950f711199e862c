"""The layers of the settings, from the shipped files up to the command line: found, read and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings.document import Document, Key, line_of, parse, refuse
from mahavishnu_core.settings.files import read_file, user_config_dir
from mahavishnu_core.settings.schema import (
    ECOSYSTEM_FIELDS,
    HARMLESS_EMPTY,
    MAIN_FIELDS,
    TRUSTED_FIELDS,
    Settings,
)
from mahavishnu_core.settings.trust import SHIPPED, is_trusted
from mahavishnu_core.settings.variables import fault_in_text, fields_in, variable_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mahavishnu_core.models import JSON

Rank: TypeAlias = Literal["shipped", "user", "project", "given"]

MAIN_FILES = ("mahavishnu.yaml", "mahavishnu.toml")
ECOSYSTEM_FILE = "ecosystem.yaml"
_NOT_READ = {"mahavishnu.yml": "mahavishnu.yaml", "ecosystem.yml": "ecosystem.yaml"}


@attrs.frozen
class SettingsDir:
    """A directory that may hold settings files, and whose they are."""

    rank: Rank
    path: Path


@attrs.frozen
class Source:
    """An entry of a list in a file, whose keys can be found there."""

    path: Path
    _lines: Mapping[Key, int]
    _entry: Key

    def line_of(self, key: Key) -> int | None:
        """The line of a key of the entry, or of the nearest thing that it is in."""
        return line_of((*self._entry, *key), self._lines)


@attrs.frozen
class Layer:
    """What one file, the environment or the command line sets: fields by name, with where each was read."""

    settings: Settings
    origins: Mapping[str, str]
    sources: Mapping[Key, Source] = attrs.field(factory=dict)
    """Where each entry under ``workers`` was read: ``(NAME,)``, and ``(NAME, OPTION)`` for each option."""
    withheld: Path | None = None
    """The file, where it asks for something that needs the user's trust first."""
    ignored: tuple[str, ...] = ()
    """The fields that it asks for."""


def settings_dirs(
    *, cwd: Path, config_dir: Path | None, environ: Mapping[str, str]
) -> tuple[SettingsDir, ...]:
    """Where settings are looked for, the lowest layer first."""
    found = (
        SettingsDir("shipped", SHIPPED),
        SettingsDir("user", user_config_dir(environ)),
        SettingsDir("project", cwd / "settings"),
        SettingsDir("project", cwd / ".mahavishnu"),
    )
    return found if config_dir is None else (*found, SettingsDir("given", config_dir))


def files_in(directory: SettingsDir) -> list[Path]:
    """The settings files of a directory. Raises SettingsError where there are two for one purpose."""
    main = [directory.path / name for name in MAIN_FILES if _is_there(directory.path / name)]
    if len(main) > 1:
        raise SettingsError([f"{main[0]}: {main[1].name} lies beside it: keep one of the two"])
    ecosystem = directory.path / ECOSYSTEM_FILE
    found = [*main, ecosystem] if _is_there(ecosystem) else main
    if directory.rank == "given" and not found:
        names = f"{', '.join(MAIN_FILES)} or {ECOSYSTEM_FILE}"
        raise SettingsError([f"--config: {directory.path}: is not a directory with a {names} in it"])
    return found


def misnamed_in(directory: SettingsDir) -> Iterator[str]:
    """A warning for each file that is not read because of its name."""
    for name, right in _NOT_READ.items():
        if _is_there(directory.path / name):
            yield f"{directory.path / name}: is not read: call it {right}"


def file_layer(path: Path, rank: Rank, environ: Mapping[str, str]) -> Layer:
    """What a file sets. Raises SettingsError with all its faults."""
    from mahavishnu_core.settings.structure import structure

    content = read_file(path, may_be_shared=rank == "shipped")
    if content is None:
        return Layer(Settings(), {})
    document = parse(path, content)
    allowed = ECOSYSTEM_FIELDS if path.name == ECOSYSTEM_FILE else MAIN_FIELDS
    settings, problems = structure(document, allowed)
    if problems:
        raise refuse(path, problems)
    origins = dict.fromkeys(document.data, str(path))
    asked = TRUSTED_FIELDS & origins.keys()
    asked -= {field for field in HARMLESS_EMPTY if not getattr(settings, field)}
    if rank != "project" or not asked or is_trusted(path, content, environ):
        return Layer(settings, origins, _sources(path, settings, document))
    obeyed = {field: origin for field, origin in origins.items() if field not in asked}
    return Layer(settings, obeyed, withheld=path, ignored=tuple(sorted(asked)))


def _sources(path: Path, settings: Settings, document: Document) -> dict[Key, Source]:
    found: dict[Key, Source] = {}
    for index, entry in enumerate(settings.workers):
        source = Source(path, document.lines, ("workers", index))
        found |= dict.fromkeys(((entry.name,), *((entry.name, key) for key in entry.options or ())), source)
    return found


def variables_layer(environ: Mapping[str, str]) -> Layer:
    """What the ``MAHAVISHNU_`` variables set. Raises SettingsError."""
    values = fields_in(environ)
    return _values_layer("environment", values, {field: variable_of(field) for field in values})


def command_line_layer(overrides: Mapping[str, JSON]) -> Layer:
    """What the caller sets, by field. Raises SettingsError."""
    layer = _values_layer("command line", overrides, {field: field for field in overrides})
    return attrs.evolve(layer, origins=dict.fromkeys(overrides, "command line"))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    return True


def _values_layer(source: str, values: Mapping[str, JSON], names: Mapping[str, str]) -> Layer:
    """A layer without a file; ``names`` are what people call its fields."""
    if not values:
        return Layer(Settings(), {})
    from mahavishnu_core.settings.structure import structure

    settings, problems = structure(Document(values), MAIN_FIELDS)
    if problems:
        raise SettingsError(
            [f"{source}: {names[str(problem.key[0])]}: {fault_in_text(problem)}" for problem in problems]
        )
    return Layer(settings, names)
