"""Text of agents made fit for people: control characters shown instead of obeyed, known secrets taken out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.models import JSON

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional overrides
    "\u2028\u2029\ufeff\ud800-\udfff]"
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 8


def printable(text: str) -> str:
    """The text with every character that a terminal or a log would obey written as an escape."""
    return _UNSAFE.sub(_escape, text)


def escape_json(text: str) -> str:
    """The same for a JSON text, which stays one: each such character as JSON itself writes it."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str, width: int = 0) -> str:
    """The text on one line, printable, cut to ``width`` characters where that is not 0."""
    line = printable(" ".join(text.split()))
    return line if not width or len(line) <= width else line[: width - 1] + "…"


def secrets_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values in an environment that are secret by their variable's name, and their lines.

    The longest come first.
    """
    values = {value for name, value in environ.items() if _SECRET_NAME.search(name)}
    found = values | {line.strip() for value in values for line in value.splitlines()}
    return tuple(sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True))


def redact(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def secret_begun(text: str, secrets: tuple[str, ...]) -> int:
    """How many characters at the end of a text may be the beginning of a secret that goes on after it."""
    found, last = 0, text[-1:]
    for secret in secrets if text else ():
        size = secret.rfind(last, 0, -1) + 1
        while size > found and not text.endswith(secret[:size]):
            size = secret.rfind(last, 0, size - 1) + 1
        found = max(found, size)
    return found


def redact_all(record: dict[str, JSON], secrets: tuple[str, ...]) -> dict[str, JSON]:
    """A record with the secrets taken out of every text in it, keys too."""
    if not secrets:
        return record
    return {redact(name, secrets): _redact_value(value, secrets) for name, value in record.items()}


def _redact_value(value: JSON, secrets: tuple[str, ...]) -> JSON:
    match value:
        case str():
            return redact(value, secrets)
        case list():
            return [_redact_value(item, secrets) for item in value]
        case dict():
            return redact_all(value, secrets)
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
