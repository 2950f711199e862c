"""Finds the failed request in an answer of qwen, which calls it a success.

Seen in qwen 0.15.10: when a request to the model fails, the run ends with ``subtype: success``,
``is_error: false`` and exit status 0, and only the answer's text tells: ``[API Error: 400 …]`` is all of it,
or its tail where the connection broke in mid-answer. After status 429 one line of advice follows.
"""

from __future__ import annotations

import re

import attrs

_PREFIX = "[API Error: "
_END = re.compile(
    r"\](?P<advice>\n(?:Possible quota limitations|Please wait and try again later)[^\n]*)?\s*\Z"
)
_OAUTH = {"Qwen OAuth quota exceeded:": "rate_limited", "Qwen OAuth free tier has been discontinued": "auth"}
"""Errors that 0.15.10 writes without brackets (read in it, not seen)."""

_OWN = ("Model stream ended with empty response text.", "Model stream ended without a finish reason.")
"""Said after several tries that were answered and used tokens."""

_STATUS = re.compile(r"(?P<status>[45]\d\d)\b")
_BY_STATUS = {"401": "auth", "403": "auth", "429": "rate_limited"}


@attrs.frozen
class ApiError:
    """``text`` is what the model had said before, ``reason`` one word for the error."""

    text: str
    error: str
    reason: str


def find_error(answer: str, used_tokens: bool) -> ApiError | None:
    """The error that this answer is, or ends with.

    ``used_tokens`` says whether the answer's message counted any: one that ended in an error counts none.
    So a model that quotes an error at the end of a good answer is not taken for a failure. One whose whole
    answer is an error is: after a try that was repeated, an error counts the tokens of the tries before.
    """
    for words, reason in _OAUTH.items():
        if answer.startswith(words) and not used_tokens:
            return ApiError("", answer.strip(), reason)
    start = answer.rfind(_PREFIX)
    end = _END.search(answer, start) if start >= 0 else None
    if end is None:
        return None
    text, error = answer[:start], answer[start + len(_PREFIX) : end.start()]
    if text.strip() and used_tokens and error not in _OWN:
        return None
    return ApiError(text, error, _reason(error, limited=bool(end["advice"])))


def _reason(error: str, *, limited: bool) -> str:
    """One word for an error, by the HTTP status that it begins with; advice comes after 429 alone."""
    status = _STATUS.match(error)
    if limited:
        return "rate_limited"
    return _BY_STATUS.get(status["status"], "api_error") if status else "api_error"
