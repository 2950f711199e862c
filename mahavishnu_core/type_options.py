"""The options of worker types, held against what the plugins of their places know."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.errors import MahavishnuError, PluginError
from mahavishnu_core.settings.document import Problem, describe
from mahavishnu_core.settings.options import options_of, spell
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mahavishnu_core.models import WorkerType
    from mahavishnu_core.settings import Loaded, Options
    from mahavishnu_core.settings.document import Key
    from mahavishnu_core.settings.layers import Source
    from mahavishnu_core.settings.options import Fault


@attrs.define
class OptionCheck:
    """Checks one type after the other, and keeps the faults that are the settings' own."""

    _class_of: Callable[[str], object]
    """What plugins answer to ``place_options``. Raises PluginError."""
    _loaded: Loaded
    _found: list[tuple[Path, Problem]] = attrs.field(factory=list)
    _classes: dict[str, type[Options] | None] = attrs.field(factory=dict)

    @property
    def problems(self) -> list[str]:
        """The faults in settings files, one line each, in the order of the files' lines."""
        ordered = sorted(self._found, key=lambda each: (each[0], each[1].line or 0))
        return [describe(path, problem) for path, problem in ordered]

    def check(self, kind: WorkerType, *, is_own: bool) -> str | None:
        """Why a type cannot be used; ``is_own`` is one that the settings have made.

        Faults that a settings file has to answer for go to ``problems`` instead.
        """
        try:
            faults = self._faults(kind)
        except MahavishnuError as error:
            return str(error)
        rest = []
        for key, text in faults:
            source = self._source(kind, key, is_own=is_own)
            said = f"{spell(kind.name, key)}: {text}"
            if source is None:
                rest.append(said)
            else:
                self._found.append((source.path, Problem((), said, source.line_of(("options", *key)))))
        return one_line("; ".join(rest)) if rest else None

    def _faults(self, kind: WorkerType) -> Iterable[Fault]:
        """All that is wrong with a type's options. Raises PluginError where its place's plugin is broken."""
        cls = self._class(kind.place)
        if cls is None:
            return [((), f"place {kind.place!r} has no options")] if kind.options else []
        try:
            return options_of(kind, cls)[1]
        except Exception as error:
            raise PluginError(
                f"its options cannot be read: {cls.__qualname__} of the place {kind.place!r} fails: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _class(self, place: str) -> type[Options] | None:
        if place not in self._classes:
            answer = self._class_of(place)
            if answer is not None and not (isinstance(answer, type) and attrs.has(answer)):
                what = type(answer).__name__
                raise PluginError(f"place_options answers {what} for {place!r}, where an attrs class is due")
            self._classes[place] = cast("type[Options] | None", answer)
        return self._classes[place]

    def _source(self, kind: WorkerType, key: Key, *, is_own: bool) -> Source | None:
        """The entry of the settings that a fault is to be mended in, None where a plugin has to."""
        sources = self._loaded.sources
        if key and key[0] in kind.options:
            return sources.get((kind.name, key[0]))
        # something is missing, or there are options where none may be
        entry = next((each for each in self._loaded.settings.workers if each.name == kind.name), None)
        is_asked = entry is not None and (is_own or entry.options or entry.place)
        return sources.get((kind.name,)) if is_asked else None
