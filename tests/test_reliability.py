"""The fault matrix is whole: each row has a test, each such test a row, and the document says so."""

from __future__ import annotations

import pytest

from tests.faults.matrix import Row, all_rows
from tests.faults.table import PAGE, page, shown


@pytest.mark.parametrize("row", all_rows(), ids=lambda row: row.id)
def test_every_row_has_a_test(row: Row) -> None:
    assert [each.name for each in shown() if each.row == row.id] != []


def test_every_test_of_a_row_has_one() -> None:
    assert {each.row for each in shown()} <= {row.id for row in all_rows()}


def test_the_document_is_written_from_the_matrix() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run 'python -m tests.faults.table'"
