"""Whether arguments fit a tool's schema, with the texts of the validator behind the real server.

Those about numbers are simpler here than there.
"""

from __future__ import annotations

from typing import Any

_HELP = "https://errors.pydantic.dev/2.14/v"
_NAMES = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "object": "dictionary",
    "array": "list",
}
_TYPES = {"string": str, "integer": int, "number": int | float, "object": dict, "array": list}


class Refused(Exception):
    """Arguments that do not fit; says which, and why."""


def read_arguments(tool: str, schema: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with the defaults of those that were not given. Raises Refused."""
    known: dict[str, Any] = schema["properties"]
    wrong: list[str] = []
    read = {name: each["default"] for name, each in known.items() if "default" in each}
    for name, each in known.items():
        if name in given:
            read[name] = _read(each, given[name], name, wrong)
        elif name not in read:
            wrong.append(_problem(name, "Missing required argument", "missing_argument", given))
    for name, value in given.items():
        if name not in known:
            kind = "unexpected_keyword_argument"
            wrong.append(_problem(name, "Unexpected keyword argument", kind, value))
    if wrong:
        count = f"{len(wrong)} validation error{'s' * (len(wrong) > 1)}"
        raise Refused("\n".join([f"{count} for call[{tool}]", *wrong]))
    return read


def _read(schema: dict[str, Any], value: Any, where: str, wrong: list[str]) -> Any:
    """A value of this schema; numbers may come as texts."""
    if "anyOf" in schema:
        return None if value is None else _read(schema["anyOf"][0], value, where, wrong)
    if value not in schema.get("enum", [value]):
        names = " or ".join(map(repr, schema["enum"]))
        wrong.append(_problem(where, f"Input should be {names}", "literal_error", value))
        return value
    kind = schema["type"]
    if kind in ("number", "integer") and isinstance(value, str | float | int):
        try:
            number = float(value)
        except ValueError:
            number = None
        if number is not None and (kind == "number" or number.is_integer()):
            return number if kind == "number" else int(number)
    elif kind == "array" and isinstance(value, list):
        return [_read(schema["items"], each, f"{where}.{i}", wrong) for i, each in enumerate(value)]
    elif isinstance(value, _TYPES[kind]):
        return value
    wrong.append(_problem(where, f"Input should be a valid {_NAMES[kind]}", f"{_NAMES[kind]}_type", value))
    return value


def _problem(where: str, text: str, kind: str, value: object) -> str:
    told = f"[type={kind}, input_value={value!r}, input_type={type(value).__name__}]"
    return f"{where}\n  {text} {told}\n    For further information visit {_HELP}/{kind}"
