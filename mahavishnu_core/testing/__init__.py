"""What plugins are tested with: recorded runs, a task in one line, and the contract that they keep.

Nothing here needs pytest but ``mahavishnu_core.testing.fixtures``, which a test suite opts into with
``pytest_plugins = ["mahavishnu_core.testing.fixtures"]``.
"""

from __future__ import annotations

from mahavishnu_core.testing.contract import Broken, DoesNotApply, Outcome, Row, rows_for
from mahavishnu_core.testing.running import carry_out
from mahavishnu_core.testing.samples import Sample, samples_in

__all__ = ["Broken", "DoesNotApply", "Outcome", "Row", "Sample", "carry_out", "rows_for", "samples_in"]
