"""What is to be sent, what has arrived, and how the last attempt went: as files, with one sender at a time.

``outbox/`` has an empty file for each task that is to be sent. There is one byte in it once a sending was
begun, and a second one once that was seen to be over: such a letter may have arrived, and is looked up first.
``sent/`` has a file for each that is known to have arrived. What a letter says is made from the state
directory when it is sent; ``letters/`` has what cannot be.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

import attrs

from mahavishnu_session_buddy.names import is_log

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON
    from mahavishnu_session_buddy.letter import Letter

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
"""Seconds before a sending that failed is tried again by itself, longer and longer."""


@attrs.frozen
class Failure:
    """Why nothing could be sent; ``attempts`` in a row have failed."""

    reason: str
    advice: str
    attempts: int
    at: float
    """Seconds since 1970."""

    @property
    def seconds_left(self) -> float:
        """Until the next attempt is due."""
        pause = min(_FIRST_PAUSE * 2 ** min(self.attempts - 1, 20), _LONGEST_PAUSE)
        passed = time.time() - self.at
        return max(0.0, pause - passed) if passed >= 0 else 0.0  # the clock was set back


@attrs.frozen
class Outbox:
    """In the directory ``session-buddy`` of a state directory."""

    root: Path

    @classmethod
    def of(cls, state_dir: Path) -> Outbox:
        return cls(state_dir / "session-buddy")

    @property
    def home(self) -> Path:
        """The working directory of a server that we start: Session-Buddy leaves files there."""
        return self.root / "server"

    def prepare(self) -> None:
        for name in ("", "outbox", "sent", "letters", "server"):
            (self.root / name).mkdir(mode=0o700, exist_ok=True)

    # --- entries

    def put(self, name: str, letter: Letter | None = None) -> None:
        """Have it sent, unless it was. ``prepare`` comes first."""
        if not self.was_sent(name):
            if letter is not None:
                _write(self.root / "letters" / name, json.dumps(attrs.asdict(letter)))
            os.close(os.open(self.root / "outbox" / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))

    def waiting(self) -> list[str]:
        """What is to be sent, oldest first; what was tried already comes last, lest it hold up the rest."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.root / "outbox") as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    if S_ISREG(stat.st_mode):
                        found.append((stat.st_size > 0, stat.st_mtime, entry.name))
        return [name for *_, name in sorted(found)]

    def sent(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(path.name for path in (self.root / "sent").iterdir())
        return []

    def has_sent(self) -> bool:
        """Whether anything has ever arrived."""
        with suppress(FileNotFoundError), os.scandir(self.root / "sent") as entries:
            return any(entries)
        return False

    def was_sent(self, name: str) -> bool:
        return (self.root / "sent" / name).exists()

    def letter(self, name: str) -> Letter | None:
        """What it says, where that is kept here; None also for a file that a power cut has spoilt."""
        from mahavishnu_session_buddy.letter import Letter

        match _read(self.root / "letters" / name):
            case {"token": str(token), "content": str(content), "tags": [*tags]}:
                return Letter(token, content, tuple(map(str, tags)))
        return None

    def was_tried(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            return (self.root / "outbox" / name).stat().st_size > 0
        return False

    def may_be_under_way(self, name: str, patience: float) -> bool:
        """Whether a sending was begun in the last ``patience`` seconds and nobody saw its end."""
        with suppress(FileNotFoundError):
            entry = (self.root / "outbox" / name).stat()
            return entry.st_size == 1 and 0 <= time.time() - entry.st_mtime < patience
        return False

    def mark_begun(self, name: str) -> None:
        """Its sending begins now."""
        os.truncate(self.root / "outbox" / name, 0)  # else nothing would change, the time neither
        os.truncate(self.root / "outbox" / name, 1)

    def mark_over(self, name: str) -> None:
        """Its sending has ended, whatever came of it."""
        os.truncate(self.root / "outbox" / name, 2)

    def mark_sent(self, name: str) -> None:
        (self.root / "outbox" / name).replace(self.root / "sent" / name)
        if is_log(name):
            (self.root / "letters" / name).unlink(missing_ok=True)

    def mark_lost(self, name: str) -> None:
        """The server does not have it any more: it is to be sent anew."""
        (self.root / "sent" / name).replace(self.root / "outbox" / name)
        os.truncate(self.root / "outbox" / name, 0)

    def drop(self, name: str) -> None:
        for kind in ("outbox", "letters"):
            (self.root / kind / name).unlink(missing_ok=True)

    # --- how it went

    def failure(self) -> Failure | None:
        """That of the last attempt; None if it did not fail, or nothing was tried yet."""
        match _read(self.root / "failure.json"):
            case {"reason": str(why), "advice": str(advice), "attempts": int(attempts), "at": float(at)}:
                return Failure(why, advice, attempts, at)
        return None

    def note_failure(self, reason: str, advice: str) -> None:
        before = self.failure()
        failure = Failure(reason, advice, before.attempts + 1 if before else 1, time.time())
        _write(self.root / "failure.json", json.dumps(attrs.asdict(failure)))

    def note_success(self) -> None:
        (self.root / "failure.json").unlink(missing_ok=True)

    # --- what doctor has stored

    def canary(self) -> str:
        """The word of the last one; empty before there is one."""
        try:
            return (self.root / "canary").read_text().strip()
        except FileNotFoundError:
            return ""

    def keep_canary(self, token: str) -> None:
        _write(self.root / "canary", token)

    # --- one sender at a time

    @contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Whether nobody else sends; as long as the block lasts, nobody else does."""
        with self._lock_file("lock") as lock:
            yield _take(lock)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait until nobody else sends; False at once where somebody waits already, who will see it all."""
        with self._lock_file("next") as queue, self._lock_file("lock") as lock:
            if _take(queue):
                fcntl.flock(lock, fcntl.LOCK_EX)
                fcntl.flock(queue, fcntl.LOCK_UN)
                yield True
            else:
                yield False

    @contextmanager
    def _lock_file(self, name: str) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.root / name, flags, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """Have a file appear whole, for its owner alone."""
    draft = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise


def _read(path: Path) -> dict[str, JSON]:
    """An empty record for a file that is not there, or is none of ours."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
