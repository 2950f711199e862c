"""Finds results by their words, and where no result has them all, by the text as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_sqlite.record import result_from, storable

if TYPE_CHECKING:
    import sqlite3

    from mahavishnu_core.models import WorkerResult

_BY_WORDS = """
SELECT results.* FROM results_text JOIN results ON results.id = results_text.rowid
WHERE results_text MATCH ? ORDER BY results_text.rank, results.timestamp DESC LIMIT ?
"""
_BY_TEXT = """
SELECT * FROM results WHERE holds(prompt) OR holds(output) OR holds(error)
ORDER BY timestamp DESC LIMIT ?
"""


def find(connection: sqlite3.Connection, text: str, limit: int) -> list[WorkerResult]:
    """Results with all the words of the text in prompt, output or error, best first; of equals the newest.

    The text as it stands, whatever its case, finds what words do not: parts of words, signs, languages that
    do not put blanks between words. An empty text finds everything, newest first.
    """
    text = storable(text).strip()
    most = max(limit, 0)
    rows = connection.execute(_BY_WORDS, (as_words(text), most)).fetchall()
    if not rows:
        needle = text.casefold()
        connection.create_function("holds", 1, lambda held: held is not None and needle in held.casefold())
        rows = connection.execute(_BY_TEXT, (most,)).fetchall()
    return [result_from(dict(row)) for row in rows]


def as_words(text: str) -> str:
    """The text as a query in which nothing is an operator: each word a quoted string, all of them wanted."""
    words = text.replace("\0", " ").split() or [""]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)
