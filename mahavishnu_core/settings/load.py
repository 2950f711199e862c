"""All layers laid over each other into the settings that hold, with their warnings and origins."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import attrs

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings import layers
from mahavishnu_core.settings.schema import CONCURRENT_WORKERS, Settings, WorkerOverride, laid_over
from mahavishnu_core.settings.variables import near_misses
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mahavishnu_core.models import JSON
    from mahavishnu_core.settings.document import Key
    from mahavishnu_core.settings.layers import Layer, SettingsDir, Source

T = TypeVar("T")


@attrs.frozen
class Loaded:
    """The settings that hold, and how they came about."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    origins: Mapping[str, str] = attrs.field(factory=dict)
    """The file, variable or ``command line`` of each field, of each ``workers.NAME`` and ``roles.NAME``."""
    sources: Mapping[Key, Source] = attrs.field(factory=dict)
    """Where ``(NAME,)``, an entry under ``workers``, and ``(NAME, OPTION)`` were last read."""
    untrusted: tuple[Path, ...] = ()
    """Project files that ask for commands or variables, and are not obeyed in that for want of trust."""


def load_settings(
    *,
    cwd: Path,
    config_dir: Path | None = None,
    environ: Mapping[str, str],
    overrides: Mapping[str, JSON] = MappingProxyType({}),
) -> Loaded:
    """Read all layers and lay them over each other. Raises SettingsError with every fault of every layer."""
    directories = layers.settings_dirs(cwd=cwd, config_dir=config_dir, environ=environ)
    found = _read(directories, environ, overrides)
    settings, origins = _merge(found)
    withheld = {layer.withheld: layer.ignored for layer in found if layer.withheld}
    warnings = [
        *(warning for directory in directories for warning in layers.misnamed_in(directory)),
        *near_misses(environ),
        *(_trust_warning(path, fields) for path, fields in withheld.items()),
    ]
    limit = CONCURRENT_WORKERS.clamp(settings.max_concurrent_workers)
    if limit != settings.max_concurrent_workers:
        settings = attrs.evolve(settings, max_concurrent_workers=limit)
        where = f"{origins['max_concurrent_workers']}: max_concurrent_workers"
        warnings.append(f"{where}: must be {CONCURRENT_WORKERS}: {limit} is used")
    sources = {key: source for layer in found for key, source in layer.sources.items()}
    return Loaded(settings, tuple(map(one_line, warnings)), origins, sources, tuple(withheld))


def _read(
    directories: Iterable[SettingsDir], environ: Mapping[str, str], overrides: Mapping[str, JSON]
) -> list[Layer]:
    """Every layer, the lowest first. Raises SettingsError for the faults of all of them together."""
    problems: list[str] = []

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except SettingsError as error:
            problems.extend(error.problems)
            return None

    files = [
        (path, directory.rank)
        for directory in directories
        for path in attempt(partial(layers.files_in, directory)) or ()
    ]
    found = [
        *(attempt(partial(layers.file_layer, path, rank, environ)) for path, rank in files),
        attempt(partial(layers.variables_layer, environ)),
        attempt(partial(layers.command_line_layer, overrides)),
    ]
    if problems:
        raise SettingsError(problems)
    return [layer for layer in found if layer is not None]


def _merge(found: Iterable[Layer]) -> tuple[Settings, dict[str, str]]:
    """The layers laid over each other, and where each value came from in the end."""
    merged, origins = Settings(), dict[str, str]()
    for layer in found:
        fields = {field: getattr(layer.settings, field) for field in layer.origins}
        roles, workers = fields.get("roles", ()), fields.get("workers", ())
        fields["roles"] = tuple(({role.name: role for role in (*merged.roles, *roles)}).values())
        fields["workers"] = _lay_over(merged.workers, workers)
        merged = attrs.evolve(merged, **fields)
        origins |= layer.origins
        for field, items in (("roles", roles), ("workers", workers)):
            origins |= {f"{field}.{item.name}": layer.origins[field] for item in items}
    return merged, origins


def _lay_over(lower: Iterable[WorkerOverride], upper: Iterable[WorkerOverride]) -> tuple[WorkerOverride, ...]:
    """An entry changes only the fields that it names in the entry of its name below."""
    merged = {entry.name: entry for entry in lower}
    for entry in upper:
        merged[entry.name] = laid_over(merged.get(entry.name, entry), entry)
    return tuple(merged.values())


def _trust_warning(path: Path, fields: Iterable[str]) -> str:
    return (
        f"{path}: not trusted yet, so what it says of {', '.join(fields)} is ignored: "
        "read it, then run 'mahavishnu config trust'"
    )
