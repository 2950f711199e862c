"""The JSON Schema of a line of ``--jsonl``; ``python -m mahavishnu_core.schema`` prints it.

It is made from the types themselves. msgspec knows how to describe them but for ``JSON``, which is recursive:
that becomes a definition of its own.
"""

from __future__ import annotations

import json
import sys
from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast, get_args, get_type_hints

import msgspec

from mahavishnu_core.events import EVENTS_VERSION, Event, Tokens, event_name
from mahavishnu_core.models import WorkerResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mahavishnu_core.models import JSON

_Anything: TypeAlias = Annotated[object, msgspec.Meta(extra_json_schema={"$ref": "#/$defs/JSON"})]
_Hints: TypeAlias = "dict[str, object]"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ABOUT = (
    "A line of --jsonl: an event of a task, or the result of one. All fields are always there. "
    "Further types and fields may come within a version: pass over those that you do not know. "
    "Removing or changing one raises the version."
)
_HEAD: _Hints = {
    "seq": Annotated[
        int,
        msgspec.Meta(ge=1, description="Counts the events of a task from 1, the same for every reader."),
    ],
    "worker_id": str,
    "task_id": str,
}


def events_schema() -> dict[str, JSON]:
    """The schema as one JSON document."""
    lines, definitions = msgspec.json.schema_components(_lines())
    return {
        "$schema": _DIALECT,
        "$id": f"urn:mahavishnu:events:{EVENTS_VERSION}",
        "title": f"Mahavishnu events, version {EVENTS_VERSION}",
        "description": _ABOUT,
        "anyOf": [*lines],
        "$defs": {"JSON": {"description": "Any JSON value."}, **definitions},
    }


def _lines() -> Iterator[type[msgspec.Struct]]:
    """A class for each kind of line, with the fields that it has when it is printed."""
    tokens = _described(Tokens, _hints(Tokens))
    for kind in get_args(Event):
        own = {name: tokens if hint is Tokens else hint for name, hint in _hints(kind).items()}
        yield _described(kind, _HEAD | own, tag=event_name(kind))
    yield _described(WorkerResult, _hints(WorkerResult), tag="result")


def _described(kind: type, hints: Mapping[str, object], tag: str | None = None) -> type[msgspec.Struct]:
    """A class of that name and docstring, all of whose fields are required: what is printed is whole."""
    fields = cast("list[tuple[str, type]]", list(hints.items()))
    tag_field = None if tag is None else "type"
    doc = {"__doc__": cleandoc(kind.__doc__ or "")}
    return msgspec.defstruct(kind.__name__, fields, namespace=doc, tag=tag, tag_field=tag_field)


def _hints(kind: type) -> _Hints:
    return get_type_hints(kind, localns={"JSON": _Anything}, include_extras=True)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(events_schema(), indent=2) + "\n")
