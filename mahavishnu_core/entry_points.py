"""Which installed distributions offer a plugin: their ``entry_points.txt`` read directly.

``importlib.metadata`` answers the same, but importing it costs as much as the rest of a ``--help``
(docs/decisions/0002-entry-points-read-directly.md).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GROUP = "mahavishnu"


class EntryPoint(NamedTuple):
    """One plugin on offer: a name, the module it lies in, and the distribution it comes with."""

    name: str
    value: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        return f"{self.distribution} {self.version}"

    def load(self) -> object:
        """The plugin: a module, or an attribute of one for ``module:attribute``."""
        module, _, attribute = self.value.partition(":")
        plugin: object = import_module(module.strip())
        for part in filter(None, attribute.strip().split(".")):
            plugin = getattr(plugin, part)
        return plugin


def discover(path: Iterable[str] | None = None) -> list[EntryPoint]:
    """All plugins on offer, by name; a distribution found twice counts where it is found first."""
    seen: set[str] = set()
    found: list[EntryPoint] = []
    for directory, folder in _dist_infos(sys.path if path is None else path):
        distribution, _, version = folder.removesuffix(".dist-info").rpartition("-")
        name = distribution.lower().replace("_", "-")
        if name not in seen:
            seen.add(name)
            found.extend(_read(f"{directory}/{folder}/entry_points.txt", name, version))
    return sorted(found)


def _dist_infos(path: Iterable[str]) -> Iterator[tuple[str, str]]:
    for directory in path:
        try:
            entries = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        for entry in entries:
            if entry.endswith(".dist-info"):
                yield directory or ".", entry


def _read(file: str, distribution: str, version: str) -> Iterator[EntryPoint]:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            lines = [line.strip() for line in stream]
    except OSError:
        return
    section = ""
    for line in lines:
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == GROUP and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield EntryPoint(name.strip(), value.strip(), distribution, version)
