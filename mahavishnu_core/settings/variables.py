"""Settings from outside of files: ``MAHAVISHNU_<FIELD>`` variables, and text typed for one field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.settings.schema import MAIN_FIELDS, Settings
from mahavishnu_core.settings.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mahavishnu_core.models import JSON
    from mahavishnu_core.settings.document import Problem

PREFIX = "MAHAVISHNU_"
_ELSEWHERE = frozenset(
    PREFIX + name for name in ("DEPTH", "MCP_TOKEN", "PLUGINS", "SESSION_BUDDY_TOKEN", "STATE_DIR", "TASK")
)
_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def variable_of(field: str) -> str:
    """``MAHAVISHNU_WORKERS_ENABLED`` for ``workers_enabled``."""
    return PREFIX + field.upper()


def fields_in(environ: Mapping[str, str]) -> dict[str, JSON]:
    """The fields that variables set, parsed. An empty variable is one that is not set."""
    texts = {field: environ.get(variable_of(field), "") for field in sorted(MAIN_FIELDS)}
    return {field: parse_text(field, text) for field, text in texts.items() if text}


def near_misses(environ: Iterable[str]) -> list[str]:
    """A warning for each variable that looks like a setting misspelt."""
    known = {variable_of(field) for field in MAIN_FIELDS}
    strangers = [
        name for name in sorted(environ) if name.startswith(PREFIX) and name not in known | _ELSEWHERE
    ]
    found = []
    for name in strangers:
        near = nearest(name.removeprefix(PREFIX).lower(), MAIN_FIELDS, cutoff=0.8)
        if near:
            found.append(f"environment: {name}: is not a setting (did you mean {variable_of(near)!r}?)")
    return found


def parse_text(field: str, text: str) -> JSON:
    """The text as a value of the field's type; as it is where it cannot be one, for the check to refuse."""
    default = attrs.fields_dict(Settings)[field].default
    word = text.strip()
    if isinstance(default, bool):
        return _TRUTH.get(word.lower(), text)
    if isinstance(default, int):
        return int(word) if re.fullmatch(r"[+-]?[0-9]{1,18}", word) else text
    if isinstance(default, tuple):
        return [part for part in re.split(r"[,\s]+", word) if part]
    return _from_json(word) if _is_mapping(field) else word


def fault_in_text(problem: Problem) -> str:
    """What is wrong with a field that was given as text, and how one that holds keys is given so."""
    match problem.key:
        case (str(field),) if _is_mapping(field):
            return f"""{problem.text}: give a JSON object: '{{"content": "{{content}}"}}'"""
    return problem.text


def _is_mapping(field: str) -> bool:
    known = attrs.fields_dict(Settings).get(field)
    return known is not None and getattr(known.default, "factory", None) is dict


def _from_json(text: str) -> JSON:
    import json

    try:
        value: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
