"""The scripts by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from tests.scripted_model.conversation import Conversation, Failure, Reply

Script: TypeAlias = Callable[[Conversation], Reply | Failure]
_S = TypeVar("_S", bound=Script)

SCRIPTS: dict[str, Script] = {}


def script(function: _S) -> _S:
    """Makes a function choosable by its name."""
    SCRIPTS[function.__name__] = function
    return function
