"""The removal of what a command in a container could write to: nothing in it is what one may expect."""

from __future__ import annotations

import os
from contextlib import suppress


def remove_tree(path: str) -> None:
    """Remove a directory as far as that goes, however deep it is; no link is followed.

    What lies deeper is moved up first. ``shutil.rmtree`` calls itself for each level, and keeps it open.
    """
    try:
        top = _opened(path)
    except OSError:
        return
    try:
        waiting = [name for name in os.listdir(top) if not _is_removed(name, top)]
        while waiting:
            waiting += _emptied(waiting.pop(), top)
    finally:
        os.close(top)
    with suppress(OSError):
        os.rmdir(path)


def _emptied(name: str, top: int) -> list[str]:
    """Remove what is in a directory, and it; the new names of what had to be moved up instead."""
    try:
        inner = _opened(name, top)
    except OSError:
        return []
    moved = []
    try:
        for entry in os.listdir(inner):
            if not _is_removed(entry, inner):
                new = os.urandom(8).hex()
                with suppress(OSError):
                    os.rename(entry, new, src_dir_fd=inner, dst_dir_fd=top)
                    moved.append(new)
    finally:
        os.close(inner)
    _is_removed(name, top)
    return moved


def _opened(path: str, directory: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)


def _is_removed(name: str, directory: int) -> bool:
    for remove in (os.unlink, os.rmdir):
        with suppress(OSError):
            remove(name, dir_fd=directory)
            return True
    return False
