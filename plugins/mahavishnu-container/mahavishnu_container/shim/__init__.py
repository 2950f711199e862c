"""The local program that stands for a command in a container: the standard library alone, little of it.

A shim is started for every task, so what it loads is what a task costs: ``socket`` takes 14 ms, ``json`` and
``typing`` 8 each, as much as Python itself. They are left out where a task goes its usual way: sockets are
those of ``_socket``, of which ``socket`` is made, and ``TYPE_CHECKING`` is a name that mypy knows.
"""
