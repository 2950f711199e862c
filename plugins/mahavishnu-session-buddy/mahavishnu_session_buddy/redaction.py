"""Takes out of a text what must not leave for another program: keys and passwords, by how they look.

Session-Buddy has a guard of its own, which lets the keys of most vendors pass (seen in 0.23.0).
"""

from __future__ import annotations

import re

from mahavishnu_core.text import redact

_LOOKS_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|rk|pk)[-_](?:ant|proj|live|test|or|svcacct)[-_][A-Za-z0-9_-]{8,}"
    r"|\bsk-[A-Za-z0-9]{20,}"
    r"|\b(?:github_pat|glpat|gh[opsur])[-_][A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|\b(?:hf|npm|pypi)[-_][A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{0,2000}",
    re.DOTALL,
)
_ASSIGNED = re.compile(
    r"((?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\"']?\s{0,4}[=:]\s{0,4})"
    r"(?:\"[^\"\n]{4,400}\"|'[^'\n]{4,400}'|[^\s\"',;]{4,400})",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(://)[^\s/@:]{0,100}:[^\s/@]{1,400}@")
_IN_ITS_PLACE = "[redacted]"


def without_secrets(text: str, known: tuple[str, ...]) -> str:
    """The text without the values in ``known`` and without what looks like a key, a token or a password."""
    text = _LOOKS_SECRET.sub(_IN_ITS_PLACE, redact(text, known))
    text = _IN_URL.sub(rf"\1{_IN_ITS_PLACE}@", text)
    return _ASSIGNED.sub(rf"\1{_IN_ITS_PLACE}", text)
