"""The contract that every plugin keeps, row by row: ``mahavishnu plugins check debug-monitor``."""

from __future__ import annotations

import pytest

from mahavishnu_core.testing import Row, rows_for


@pytest.mark.contract
@pytest.mark.parametrize("row", rows_for("debug-monitor"), ids=str)
def test_it_keeps_the_contract(row: Row) -> None:
    row.check()
