"""A model that says what scripts tell it to, for tests that drive the real CLIs (see ``server``)."""

from __future__ import annotations
