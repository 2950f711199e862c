"""What code of plugins raises to end the program, told from what is raised in it for the program's sake."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in the watch
import sys


def parted(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The exits in an error, and the rest of it: both where it is a group that holds both."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(is_exit)
    return (error, None) if is_exit(error) else (None, error)


def is_exit(error: BaseException) -> bool:
    """Whether it passes ``except Exception`` and is a plugin's own, ``SystemExit`` say. No group is one.

    A KeyboardInterrupt is the user's: Python's own handler raises it wherever the program just is.
    """
    if isinstance(error, (Exception, BaseExceptionGroup, KeyboardInterrupt)):
        return False
    trio = sys.modules.get("trio")  # where nobody has imported it, nothing is cancelled
    is_cancelling = trio is not None and isinstance(error, trio.Cancelled)
    return not is_cancelling and not _came_of_handler(error)


def _came_of_handler(error: BaseException) -> bool:
    """Whether a signal handler of the program raised this where the plugin's code just was."""
    handlers = {getattr(_signal.getsignal(number), "__code__", None) for number in _signal.valid_signals()}
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code in handlers:
            return True
        place = place.tb_next
    return False
