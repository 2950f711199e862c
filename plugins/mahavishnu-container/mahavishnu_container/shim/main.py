"""A shim from start to end: ``main SOCKET CONTAINER USER BOXES TASK_DIRECTORY own|shared -- COMMAND…``.

Started by the keeper in the place of the command. The command's environment is this program's own, each name
with ``IN_`` before it. See ``mahavishnu_core.places.Shim`` for what the keeper expects.
"""

from __future__ import annotations

import os
import sys

from mahavishnu_container.shim.box import PROGRESS, WORKSPACE, Box
from mahavishnu_container.shim.start import Command, begin

PREFIX = "IN_"


def main() -> None:
    socket_path, container, user, boxes, directory, ownership, _, *argv = sys.argv[1:]
    box = Box(boxes, directory, is_shared=ownership == "shared")
    command = Command(_supervised(box, argv), user, WORKSPACE, _environment(box))
    starting = begin(socket_path, container, command)

    from mahavishnu_container.shim.follow import follow, report  # takes its time to load, as the daemon does

    report(follow(box, directory, socket_path, container, command, starting), directory)
    box.close()
    os._exit(0)  # nothing is left to be flushed, and taking an interpreter down takes its time


def _supervised(box: Box, argv: list[str]) -> list[str]:
    with open(f"{os.path.dirname(__file__)}/supervise.sh") as file:
        return ["/bin/sh", "-c", file.read(), "sh", box.inside, *argv]


def _environment(box: Box) -> list[str]:
    given = [
        f"{name.removeprefix(PREFIX)}={value}"
        for name, value in os.environ.items()
        if name.startswith(PREFIX)
    ]
    return [*given, f"MAHAVISHNU_PROGRESS={box.inside}/{PROGRESS}"]
