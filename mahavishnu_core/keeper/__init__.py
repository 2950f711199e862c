"""The keeper: one small process per state directory that starts commands, outlives engines, ends families.

It runs with the standard library alone, in one thread. ``main`` is the process, ``server`` its loop,
``link`` its end of the connection to an engine, ``spawn`` how a command is started, ``kept`` its life,
``output`` what is seen of its output, ``room`` the room on the disk that is held for that. ``kinship`` says
whose a process is, ``family`` what /proc says about processes, ``cgroup`` the kernel's own groups of them,
``files`` how small files appear whole.
"""

from __future__ import annotations
