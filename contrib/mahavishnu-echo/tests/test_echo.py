"""The agent echo keeps the contract that all agents keep."""

from __future__ import annotations

import pytest

from mahavishnu_core.testing import rows_for


@pytest.mark.parametrize("row", rows_for("echo"), ids=str)
def test_it_keeps_the_contract(row):
    row.check()
