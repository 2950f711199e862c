"""Writes a plugin of one's own from the template that comes with the command line."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core import __version__
from mahavishnu_core.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_TEMPLATE = Path(__file__).with_name("template")
_NAME = re.compile(r"[a-z]([a-z0-9_.-]{0,62}[a-z0-9])?")
"""What agents may be called, but for names that no distribution could have."""


@attrs.frozen
class NewPlugin:
    """The names of a plugin for an agent called ``name``."""

    name: str

    @property
    def identifier(self) -> str:
        """The name as part of a Python name, as build tools make it."""
        return re.sub(r"[-_.]+", "_", self.name)

    @property
    def module(self) -> str:
        return f"mahavishnu_{self.identifier}"

    @property
    def distribution(self) -> str:
        return f"mahavishnu-{self.name}"

    def check(self, taken: Collection[str], directory: Path) -> None:
        """Raises UsageError for a name that cannot be, that is taken, or whose directory is there already."""
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot be the name of a plugin: it must have at most 64 lower-case letters, "
                "digits, '_', '.' and '-', begin with a letter, and end with a letter or a digit"
            )
        if self.name in taken or find_spec(self.module) is not None:
            raise UsageError(f"the name {self.name!r} is taken by what is installed: choose another one")
        if not directory.is_dir():
            raise UsageError(f"{str(directory)!r} is not a directory: name an existing one with --directory")
        place = directory / self.distribution
        if place.exists() or place.is_symlink():
            raise UsageError(f"{str(place)!r} is there already: choose another name or --directory")

    def write(self, directory: Path) -> Path:
        """The directory in which the plugin lies now, whole or not at all.

        Raises MissingError without cookiecutter, UsageError where it cannot be written.
        """
        try:
            # its parts, not its main function, which would read and write files in the user's home
            from cookiecutter.generate import generate_files  # type: ignore[import-untyped]
        except ImportError:
            raise MissingError(
                "writing a plugin needs cookiecutter, which is not installed: "
                "install it with 'pip install ./plugins/mahavishnu-cli[new]'"
            ) from None
        names = {
            "name": self.name,
            "identifier": self.identifier,
            "core": needed_core(__version__),
            "distribution": self.distribution,
            "module": self.module,
            "_py": ".py",  # a template that ends in it would be taken for a module where it lies
        }
        place = directory / self.distribution
        try:
            with (
                TemporaryDirectory(prefix=".mahavishnu-", dir=directory) as work,
                _plainly_named(work) as name,
            ):
                generate_files(_TEMPLATE, {"cookiecutter": names}, name, accept_hooks=False)
                Path(work, self.distribution).rename(place)
        except OSError as error:
            raise UsageError(
                f"{str(place)!r} cannot be written: {error.strerror or error}: "
                "name another directory with --directory"
            ) from None
        return place


@contextmanager
def _plainly_named(directory: str) -> Iterator[str]:
    """A path to it that holds nothing a template could mean: cookiecutter renders whole paths."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def needed_core(version: str) -> str:
    """The versions of the core that a plugin written for this one works with: ``>=0.1,<0.2``."""
    major, minor = map(int, version.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}"
