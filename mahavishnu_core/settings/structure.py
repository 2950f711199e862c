"""Plain data turned into ``Settings``: strictly, nothing coerced, with every fault found at once.

Import it where it is used: cattrs takes its time to load.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial
from itertools import chain, islice
from types import UnionType
from typing import Annotated, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from mahavishnu_core.settings.document import MAX_PROBLEMS, MORE, Document, Key, Problem, line_of
from mahavishnu_core.settings.schema import ECOSYSTEM_FIELDS, MAIN_FIELDS, Rule, Settings
from mahavishnu_core.settings.suggest import did_you_mean

T = TypeVar("T")
Many = TypeVar("Many", list[object], dict[str, object])

_MAX_ITEMS = 1000

_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "keys with values",
    type(None): "nothing",
}


class _Wrong(Exception):
    """A value that is not what is wanted; the message says so without the value."""


def structure(document: Document, allowed: Collection[str]) -> tuple[Settings, list[Problem]]:
    """The settings that a document names (the rest are defaults), and all that is wrong with it.

    ``allowed`` are the keys that it may hold.
    """
    named = {key: value for key, value in document.data.items() if key in allowed}
    settings = Settings()
    faults: Iterator[Problem] = iter(())
    try:
        settings = _converter().structure(named, Settings)
    except BaseValidationError as error:
        faults = _walk(error, ())
    strangers = (_stranger(key, allowed) for key in document.data if key not in allowed)
    found = chain(faults, _repeated(named), strangers)
    problems = [
        attrs.evolve(problem, line=line_of(problem.key, document.lines))
        for problem in islice(found, MAX_PROBLEMS)
    ]
    more = [Problem((), MORE)] if next(found, None) else []
    return settings, [*document.problems, *problems, *more]


def structure_as(data: Mapping[str, object], kind: type[T]) -> tuple[T | None, list[tuple[Key, str]]]:
    """The data as an attrs class, or all that is wrong with them: where, and what."""
    try:
        return _converter().structure(dict(data), kind), []
    except BaseValidationError as error:
        faults = _walk(error, ())
        found = [(problem.key, problem.text) for problem in islice(faults, MAX_PROBLEMS)]
        return None, [*found, ((), MORE)] if next(faults, None) else found


def _stranger(key: str, allowed: Collection[str]) -> Problem:
    if key in ECOSYSTEM_FIELDS:
        return Problem((key,), "belongs in ecosystem.yaml")
    if key in MAIN_FIELDS:
        return Problem((key,), "belongs in mahavishnu.yaml or mahavishnu.toml")
    return Problem((key,), f"is not a setting{did_you_mean(key, allowed)}")


def _repeated(data: Mapping[str, object]) -> Iterator[Problem]:
    """Entries of one name, among those that are entries at all."""
    for field in sorted(ECOSYSTEM_FIELDS & data.keys()):
        entries, seen = data[field], set[str]()
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str):
                if name in seen:
                    yield Problem((field, index, "name"), f"{name!r} is here twice")
                seen.add(name)


# --- what cattrs found, walked into problems


def _walk(error: BaseException, key: Key) -> Iterator[Problem]:
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _walk(inner, (*key, *_step(inner)))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = attrs.fields_dict(cast("type[attrs.AttrsInstance]", error.cl))
        for name in sorted(error.extra_fields):
            yield Problem((*key, name), f"is not known here{did_you_mean(name, known)}")
    elif isinstance(error, KeyError):
        yield Problem(key, "is missing")
    elif isinstance(error, _Wrong):
        yield Problem(key, str(error))
    else:
        raise error


def _step(error: BaseException) -> Key:
    """Which field or item of the enclosing value an error is about."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


# --- the strict converter


@cache
def _converter() -> Converter:
    made = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind in (bool, int, str):
        made.register_structure_hook(kind, _exact)
    made.register_structure_hook(float, _number)
    made.register_structure_hook_func(partial(operator.is_, object), lambda value, _: value)

    def items(value: object, kind: object) -> tuple[object, ...]:
        wanted = cast("type[list[object]]", list[get_args(kind)[0]])  # type: ignore[misc]  # made at run time
        return tuple(made.structure(_short(_exact(value, list)), wanted))

    def pairs(value: object, kind: object) -> dict[str, object]:
        wanted = cast("type[dict[str, object]]", dict[get_args(kind)])  # type: ignore[misc]  # made at run time
        return made.structure(_short(_exact(value, dict)), wanted)

    def named(value: object, kind: object) -> object:
        """``X | None``: a key that may be left out, but not be left empty."""
        return made.structure(value, get_args(kind)[0])

    def ruled(value: object, kind: object) -> object:
        base, rule = get_args(kind)
        structured: object = made.structure(value, base)
        if not cast("Rule[object]", rule).holds(structured):
            raise _Wrong(cast("Rule[object]", rule).demand)
        return structured

    def record(kind: type) -> Callable[[object, object], object]:
        from_dict: Callable[[dict[str, object], object], object] = made.gen_structure_attrs_fromdict(kind)
        return lambda value, _: from_dict(_exact(value, dict), kind)

    hooks = (
        (Literal, _one_of),
        (tuple, items),
        (Mapping, pairs),
        (UnionType, named),
        (Union, named),  # what ``Annotated[...] | None`` is
        (Annotated, ruled),
    )
    for origin, hook in hooks:
        made.register_structure_hook_func(partial(_is_of, origin), hook)
    made.register_structure_hook_factory(attrs.has, record)
    return made


def _is_of(origin: object, kind: object) -> bool:
    return get_origin(kind) is origin


def _exact(value: object, kind: type[T]) -> T:
    if type(value) is not kind:
        raise _Wrong(f"wanted {_KINDS[kind]}, got {_kind_of(value)}{_quote_hint(value, kind)}")
    return value


def _short(values: Many) -> Many:
    if len(values) > _MAX_ITEMS:
        raise _Wrong(f"holds more than {_MAX_ITEMS} items")
    return values


def _number(value: object, _: type) -> float:
    if type(value) not in (int, float):
        raise _Wrong(f"wanted a number, got {_kind_of(value)}")
    try:
        return float(cast("float", value))
    except OverflowError:
        raise _Wrong("is too large a number") from None


def _one_of(value: object, kind: object) -> object:
    words = get_args(kind)
    if value in words:
        return value
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    raise _Wrong(f"wanted one of {', '.join(map(repr, words))}{hint}")


def _kind_of(value: object) -> str:
    if isinstance(value, float) and type(value) is float:
        return "a number with a fraction"
    return _KINDS.get(type(value), "a date or time")


def _quote_hint(value: object, kind: type) -> str:
    return " (put it in quotes)" if kind is str and isinstance(value, int | float) else ""
