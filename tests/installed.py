"""Fake installed distributions: modules and ``*.dist-info`` folders on the path, as pip would leave them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import attrs

PLAIN = """
from mahavishnu_core import WorkerType, hookimpl

HOOK_API = 1


@hookimpl
def worker_types():
    yield WorkerType("{name}-type", "{name}")
"""


@attrs.frozen
class Site:
    """A directory of installed distributions."""

    path: Path

    def install(
        self, name: str, code: str = PLAIN, *, value: str = "", distribution: str = "", version: str = "1.2"
    ) -> str:
        """Install a plugin; ``value`` is what its entry point says where that is not its module."""
        module = f"site_{name}_{distribution or 'own'}".replace("-", "_")
        (self.path / f"{module}.py").write_text(dedent(code).replace("{name}", name))
        entries = f"[console_scripts]\nx = y:z\n\n[mahavishnu]\n{name} = {value or module}\n"
        self.add(distribution or f"acme-{name}", version, entries)
        return module

    def add(self, distribution: str, version: str, entries: str | bytes) -> None:
        """A distribution with just these entry points."""
        folder = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        content = entries if isinstance(entries, bytes) else entries.encode()
        (folder / "entry_points.txt").write_bytes(content)


@contextmanager
def opened(path: Path) -> Iterator[Site]:
    """A site whose distributions can be imported as long as the block lasts."""
    path.mkdir()
    sys.path.insert(0, str(path))
    before = set(sys.modules)
    try:
        yield Site(path)
    finally:
        sys.path.remove(str(path))
        for name in set(sys.modules) - before:
            if name.startswith("site_"):
                del sys.modules[name]
