"""Takes out of a text what must not leave for another program: keys and passwords, by how they look.

Session-Buddy has a guard of its own, which lets the keys of most vendors pass (seen in 0.23.0).
"""

from __future__ import annotations

import re

from mahavishnu_core.text import redact

# None of these may look at the same characters again from many beginnings: texts are of any kind.
_LOOKS_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|\b(?:sk|rk|pk)[-_](?:ant|proj|live|test|or|svcacct|admin)[-_][A-Za-z0-9_-]{8,}"
    r"|\bsk-[A-Za-z0-9]{20,}"
    r"|\b(?:github_pat|glpat|glrt|gh[opsur])[-_][A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bGOCSPX-[A-Za-z0-9_-]{20,}"
    r"|\bya29\.[A-Za-z0-9_-]{20,}"
    r"|\b(?:xox[abeprs]|xapp)-[A-Za-z0-9-]{10,}"
    r"|\b(?:hf|npm|pypi|whsec)[-_][A-Za-z0-9_-]{20,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
_ASSIGNED = re.compile(
    r"((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)\\{0,8}[\"']?\s{0,4}[=:]\s{0,4}\\{0,8})"
    r"(?:\"[^\"\n]{4,}\"|'[^'\n]{4,}'|[^\s\"',;]{4,})",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(://)[^\s/@:]*:[^\s/]+@")
_IN_ITS_PLACE = "[redacted]"


def without_secrets(text: str, known: tuple[str, ...]) -> str:
    """The text without the values in ``known`` and without what looks like a key, a token or a password."""
    text = _LOOKS_SECRET.sub(_lines_kept, redact(text, known))
    text = _IN_URL.sub(rf"\1{_IN_ITS_PLACE}@", text)
    return _ASSIGNED.sub(rf"\1{_IN_ITS_PLACE}", text)


def _lines_kept(match: re.Match[str]) -> str:
    """So that the lines after a key have the numbers that they had."""
    return _IN_ITS_PLACE + "\n" * match[0].count("\n")
