"""What lets one in to iTerm2: a cookie of the environment, or one that it gives when it is asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from mahavishnu_debug_monitor.windows.window import WindowRefused

OSASCRIPT = "/usr/bin/osascript"
PATIENCE = 10.0
"""Seconds that iTerm2, or the person whom macOS asks for leave, may take to give a cookie."""
APP_NAME = "mahavishnu"
_OPEN_TO_ALL = "61DF88DC-3423-4823-B725-22570E01C027"


@attrs.frozen
class Cookie:
    """What lets one connection in, once; iTerm2 shows what is done with it under ``key``."""

    cookie: str = attrs.field(repr=False)
    key: str = attrs.field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        given = {"x-iterm2-cookie": self.cookie, "x-iterm2-key": self.key}
        return {name: value for name, value in given.items() if value}


def cookie_of(environ: Mapping[str, str]) -> Cookie | None:
    """The cookie that iTerm2 gives to the scripts that it starts; it may be used up."""
    cookie = environ.get("ITERM2_COOKIE")
    return Cookie(cookie, environ.get("ITERM2_KEY", "")) if cookie else None


def needs_no_cookie(support: Path) -> bool:
    """Whether an administrator has opened iTerm2 to all programs, by a file that says where it is itself."""
    path = support / "disable-automation-auth"
    expected = f"{os.fsencode(path).hex()} {_OPEN_TO_ALL}"
    try:
        return path.lstat().st_uid == 0 and path.read_text(errors="replace") == expected
    except OSError:
        return False


async def ask_for_cookie(environ: Mapping[str, str]) -> Cookie:
    """Ask iTerm2 for a cookie, by AppleScript; it is not started for that. Raises WindowRefused."""
    with trio.move_on_after(PATIENCE):
        try:
            done = await trio.run_process(
                [OSASCRIPT, "-"],
                stdin=_script(environ).encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=environ,
            )
        except OSError as error:
            reason = f"{OSASCRIPT}: {error.strerror}"
            raise WindowRefused(
                f"it lets in nobody without a cookie, which cannot be asked for ({reason}): "
                "run this on the Mac where iTerm2 runs, or set ITERM2_COOKIE"
            ) from error
        return _cookie_from(done.returncode, done.stdout, done.stderr)
    raise WindowRefused(
        f"it was asked for a cookie, which has not come for {PATIENCE:g} s: "
        "allow it where macOS or iTerm2 asks, and try again"
    )


def _script(environ: Mapping[str, str]) -> str:
    name = environ.get("IT2_APP_PATH", "iTerm2").replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'if application "{name}" is running then\n'
        f'    tell application "{name}" to request cookie and key for app named "{APP_NAME}"\n'
        "else\n"
        '    error "it does not run"\n'
        "end if\n"
    )


def _cookie_from(status: int, output: bytes, complaint: bytes) -> Cookie:
    words = output.decode(errors="replace").split()
    if status == 0 and len(words) == 2:
        return Cookie(*words)
    said = " ".join(complaint.decode(errors="replace").split()) or f"osascript ended with status {status}"
    raise WindowRefused(
        f"it gives no cookie ({said}): turn on the Python API in its settings (General, Magic), "
        "and allow this program to control it in macOS (Privacy & Security, Automation)"
    )
