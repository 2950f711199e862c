"""The options of a worker type, read into the class that its place has for them. Light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import attrs

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.models import WorkerType
    from mahavishnu_core.settings.document import Key

Fault: TypeAlias = "tuple[Key, str]"
"""Where in the options, and what is wrong there, without the value itself."""


class Options(Protocol):
    """What a place's class of options has, beside being an attrs class.

    Its fields are annotated as those of the settings are: ``bool``, ``int``, ``float``, ``str``, ``Literal``,
    ``Annotated[..., Rule(...)]``, ``tuple[X, ...]``, ``Mapping[str, X]``, further attrs classes, and
    ``X | None`` for what may be left out.
    """

    def faults(self) -> Iterable[tuple[str, str]]:
        """What is wrong between fields: the key (``mounts.0.source``), and what completes "the value ..."."""
        ...


T = TypeVar("T", bound=Options)


def read_options(kind: WorkerType, cls: type[T]) -> T:
    """The options of a worker type. Raises SettingsError with every fault in them."""
    options, faults = options_of(kind, cls)
    if options is None:
        raise SettingsError([one_line(f"{spell(kind.name, key)}: {text}") for key, text in faults])
    return options


def options_of(kind: WorkerType, cls: type[T]) -> tuple[T | None, list[Fault]]:
    """The options, or all that is wrong with them. Raises whatever the class does: it may be foreign code."""
    options, faults = _structured(kind, cls)
    if options is not None:
        faults = [(_parsed(key), text) for key, text in options.faults()]
    return (None, faults) if faults else (options, [])


def spell(name: str, key: Key) -> str:
    """``workers.claude-boxed.options.mounts.0.source``."""
    return ".".join(map(str, ("workers", name, "options", *key)))


def _structured(kind: WorkerType, cls: type[T]) -> tuple[T | None, list[Fault]]:
    if not kind.options and all(field.default is not attrs.NOTHING for field in attrs.fields(cls)):  # type: ignore[arg-type]  # mypy knows no attrs class by a TypeVar
        return cls(), []  # most types say nothing: cattrs is not loaded for them
    from mahavishnu_core.settings.structure import structure_as

    return structure_as(kind.options, cls)


def _parsed(key: str) -> Key:
    return tuple(int(part) if part.isdecimal() else part for part in key.split(".") if part)
