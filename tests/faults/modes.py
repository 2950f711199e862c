"""What strace saw of files that were made: with which rights, in the instant in which they appeared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_MAKING = "open,openat,creat,mkdir,mkdirat,mknod,mknodat"
_BIRTHS = "clone,clone3,fork,vfork"
OPTIONS = ("-f", "-y", "-e", f"trace={_MAKING},{_BIRTHS},umask")
_LINE = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<words>.*)\) += (?P<answer>\d+)(?P<file><[^>]*>)?")
_CUT = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>")
_GOES_ON = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_MODE = re.compile(r", (0\d*)$")
_PATH = re.compile(r'"([^"]*)"')


def made_in(directory: Path, trace: str) -> dict[str, int]:
    """The rights of each file and directory that was made below a directory, by its path."""
    lines = [found for line in _whole(trace) if (found := _LINE.match(line))]
    parents = {found["answer"]: found["pid"] for found in lines if found["name"] in _BIRTHS.split(",")}
    masks: dict[str, int] = {}

    def mask_of(pid: str) -> int:
        if pid not in masks:  # it was born with that of its parent
            masks[pid] = mask_of(parents[pid]) if pid in parents else 0
        return masks[pid]

    made = {}
    for found in lines:
        mask = mask_of(found["pid"])
        if found["name"] == "umask":
            masks[found["pid"]] = int(found["words"], 8)
        elif (mode := _MODE.search(found["words"])) and found["name"] in _MAKING.split(","):
            path = found["file"][1:-1] if found["file"] else _PATH.search(found["words"])[1]
            if path.startswith(f"{directory}/"):
                made.setdefault(path, int(mode[1], 8) & ~mask)  # who opens it later gives it no rights
    return made


def _whole(trace: str) -> Iterator[str]:
    """The lines of a trace; those that another process has cut in two, put together."""
    waiting: dict[str, str] = {}
    for line in trace.splitlines():
        if cut := _CUT.match(line):
            waiting[cut[1]] = line.removesuffix(" <unfinished ...>")
        elif (rest := _GOES_ON.match(line)) and rest[1] in waiting:
            yield waiting.pop(rest[1]) + rest[2]
        else:
            yield line
