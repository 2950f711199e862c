"""The keeper: one small process per state directory that starts commands, outlives engines, ends families.

It runs with the standard library alone, in one thread. ``main`` is the process, ``server`` its loop,
``link`` its end of the connection to an engine, ``kept`` the life of one command, ``kinship`` whose a process
is, ``family`` what /proc says about processes, ``cgroup`` the kernel's own groups of them.
"""

from __future__ import annotations
