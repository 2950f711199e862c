"""What may be set under ``options:`` of a worker type in a container, and what takes a word of consent."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import attrs

from mahavishnu_container.danger import Danger, dangers_of_path, sockets
from mahavishnu_container.shim.box import BOXES, WORKSPACE
from mahavishnu_core.settings import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = "/tmp/home"  # noqa: S108  # the container's own
"""Where a command finds its home, which is made for it: /tmp is there, and writable for all, in any image."""
_RESERVED = ("/", WORKSPACE, HOME, BOXES)


def plain_path(path: str) -> str:
    """A path in a container as its daemon sees it: ``/data`` for ``//x/../data/``."""
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _matches(pattern: str, demand: str) -> Rule[str]:
    compiled = re.compile(pattern)
    return Rule(demand, lambda text: compiled.fullmatch(text) is not None)


Image: TypeAlias = Annotated[
    str,
    _matches(
        r"[A-Za-z0-9]([A-Za-z0-9_./:@-]{0,253}[A-Za-z0-9_.-])?",
        "must be the name of an image: python:3.13-slim",
    ),
]
Network: TypeAlias = Annotated[
    str,
    _matches(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", "must be none, bridge, or the name of a network"),
]
User: TypeAlias = Annotated[
    str, _matches(r"\d{1,9}(:\d{1,9})?", "must be numbers: a user's, or user:group as in '1000:1000'")
]
Size: TypeAlias = Annotated[str, _matches(r"[1-9]\d{0,8}[kmg]", "must be a size: 512m, 2g")]
Source: TypeAlias = Annotated[
    str, _matches(r"(~/|/)[^\0\n]*|~", "must be a path from the root or from your home: /data, ~/data")
]
Target: TypeAlias = Annotated[str, _matches(r"/[^\0\n:]+", "must be a path from the container's root: /data")]
Count: TypeAlias = Annotated[int, Rule("must be from 16 to 32768", lambda number: 16 <= number <= 32768)]
Processors: TypeAlias = Annotated[
    float, Rule("must be from 0.01 to 1024", lambda number: 0.01 <= number <= 1024)
]


@attrs.frozen
class Mount:
    """A directory or file of this machine that the container sees, too."""

    source: Source
    target: Target
    writable: bool = False


@attrs.frozen
class ContainerOptions:
    """How a container is made. The defaults let a command do as little as it can do its work with."""

    image: Image = "python:3.13-slim"
    runtime: Literal["docker", "podman"] = "docker"
    pull: Literal["missing", "never"] = "missing"
    network: Network = "none"
    mounts: tuple[Mount, ...] = ()
    user: User | None = None
    """None for the one who runs Mahavishnu, so that files in the workspace are theirs."""
    memory: Size = "2g"
    cpus: Processors | None = None
    pids: Count = 512
    read_only: bool = False
    """Whether the container's own files cannot be changed; /tmp, and with it the home, is in memory then."""
    tmpfs: tuple[Target, ...] = ()
    privileged: bool = False
    allow_unsafe: tuple[Danger, ...] = ()

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is asked for without being allowed, and what cannot be together."""
        yield from self._unsafe()
        targets = [*_RESERVED, *self.tmpfs, *(mount.target for mount in self.mounts)]
        places = [plain_path(target) for target in targets]
        for index, tmpfs in enumerate(self.tmpfs):
            if places.count(plain_path(tmpfs)) > 1:
                yield f"tmpfs.{index}", f"{tmpfs!r} is taken"
        for index, mount in enumerate(self.mounts):
            if places.count(plain_path(mount.target)) > 1:
                yield f"mounts.{index}.target", f"{mount.target!r} is taken"

    def _unsafe(self) -> Iterator[tuple[str, str]]:
        if self.privileged:
            yield from self._unless_allowed("privileged", "privileged")
        if self.privileged and self.user is not None and self.user.partition(":")[0] == "0":
            yield (
                "user",
                "must not be 0 where privileged is true: its commands would end the container",
            )
        if self.network == "host":
            yield from self._unless_allowed("network", "host_network")
        for index, mount in enumerate(self.mounts):
            for danger in dangers_of_path(mount.source, None, sockets()):
                yield from self._unless_allowed(f"mounts.{index}.source", danger)

    def _unless_allowed(self, key: str, danger: Danger) -> Iterator[tuple[str, str]]:
        if danger not in self.allow_unsafe:
            yield key, f"is not safe: it needs '{danger}' in allow_unsafe"
