"""The files of the settings: where the user's lie, how any is read with care and written at one stroke."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mahavishnu_core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES = 1 << 20


def user_config_dir(environ: Mapping[str, str]) -> Path:
    """Where the user's own settings lie. ``XDG_CONFIG_HOME`` decides on every platform where it is set.

    Raises SettingsError where this user has no home.
    """
    xdg = environ.get("XDG_CONFIG_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg, "mahavishnu")
    if sys.platform in ("darwin", "win32"):
        from platformdirs import user_config_path

        return user_config_path("mahavishnu", appauthor=False)
    try:
        return Path(environ.get("HOME") or Path.home(), ".config", "mahavishnu")
    except RuntimeError:
        raise SettingsError(["there is no home directory to look for settings in: set HOME"]) from None


def read_file(path: Path, *, may_be_shared: bool = False) -> bytes | None:
    """The bytes of a settings file, None where there is none.

    Raises SettingsError where it cannot be read, is no regular file, is too large, or, unless it
    ``may_be_shared``, may be written by anybody.
    """
    try:
        # without O_NONBLOCK a named pipe in a project would stop us for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_open(path, descriptor, may_be_shared=may_be_shared)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None


def write_file(path: Path, text: str) -> None:
    """Put a file there, whole or not at all; a link stays a link. Raises SettingsError."""
    import tempfile

    try:
        target = path.resolve()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, target)  # noqa: PTH105  # the name is text already
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SettingsError([f"{path}: cannot be written: {error.strerror}"]) from None


def _read_open(path: Path, descriptor: int, *, may_be_shared: bool) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise SettingsError([f"{path}: is not a regular file"])
    if mode & stat.S_IWOTH and not may_be_shared:
        raise SettingsError(
            [f"{path}: anybody on this machine may change it, so it is not obeyed: run 'chmod o-w' on it"]
        )
    with open(descriptor, "rb", closefd=False) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise SettingsError([f"{path}: is larger than 1 MiB, which no settings file needs to be"])
    return content
