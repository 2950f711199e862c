"""Finds results and logs by their words, and where none has them all, by the text as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_sqlite.logs import result_of_log
from mahavishnu_sqlite.record import result_from, storable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from mahavishnu_core.models import JSON, WorkerResult


@attrs.frozen
class _Query:
    """``statement`` ends with the limit, for which it has the last question mark."""

    statement: str
    read: Callable[[Mapping[str, JSON]], WorkerResult]


_BY_WORDS = (
    _Query(
        """
        SELECT results.* FROM results_text JOIN results ON results.id = results_text.rowid
        WHERE results_text MATCH ? ORDER BY results_text.rank, results.timestamp DESC LIMIT ?
        """,
        result_from,
    ),
    _Query(
        """
        SELECT logs.* FROM logs_text JOIN logs ON logs.id = logs_text.rowid
        WHERE logs_text MATCH ? ORDER BY logs_text.rank, logs.created DESC LIMIT ?
        """,
        result_of_log,
    ),
)
_BY_TEXT = (
    _Query(
        """
        SELECT * FROM results WHERE holds(prompt) OR holds(output) OR holds(error)
        ORDER BY timestamp DESC LIMIT ?
        """,
        result_from,
    ),
    _Query("SELECT * FROM logs WHERE holds(text) ORDER BY created DESC LIMIT ?", result_of_log),
)


def find(connection: sqlite3.Connection, text: str, limit: int) -> list[WorkerResult]:
    """Results with all the words of the text in prompt, output or error, best first; of equals the newest.

    After them come batches of logs with all the words in their lines, in the same order.

    The text as it stands, whatever its case, finds what words do not: parts of words, signs, languages that
    do not put blanks between words. An empty text finds everything, newest first.
    """
    text = storable(text).strip()
    needle = text.casefold()
    connection.create_function("holds", 1, lambda held: held is not None and needle in held.casefold())
    return _ask(connection, _BY_WORDS, [as_words(text)], limit) or _ask(connection, _BY_TEXT, [], limit)


def _ask(
    connection: sqlite3.Connection, queries: Iterable[_Query], wanted: list[str], limit: int
) -> list[WorkerResult]:
    found: list[WorkerResult] = []
    for query in queries:
        room = max(limit - len(found), 0)  # less than 0 would be no limit
        rows = connection.execute(query.statement, (*wanted, room)).fetchall()
        found += [query.read(dict(row)) for row in rows]
    return found


def as_words(text: str) -> str:
    """The text as a query in which nothing is an operator: each word a quoted string, all of them wanted."""
    words = text.replace("\0", " ").split() or [""]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)
