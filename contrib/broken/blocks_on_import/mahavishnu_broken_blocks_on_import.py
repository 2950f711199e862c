"""Broken: its import never comes to an end."""

from __future__ import annotations

import time

time.sleep(10**6)
