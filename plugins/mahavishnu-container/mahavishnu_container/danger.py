"""What would let a command out of its container, by the word that has to be said to allow it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Danger: TypeAlias = Literal["privileged", "docker_socket", "host_network", "root_mount", "state_dir"]

DOCKER_SOCKETS = (
    "/var/run/docker.sock",
    "{runtime}/docker.sock",
    "~/.docker/run/docker.sock",
    "~/.docker/desktop/docker.sock",
)
PODMAN_SOCKETS = ("{runtime}/podman/podman.sock", "/run/podman/podman.sock")
"""Where daemons listen by default, the most usual first; ``{runtime}`` is the user's runtime directory."""


def socket_paths(patterns: Sequence[str], environ: Mapping[str, str]) -> list[Path]:
    """Where a daemon may listen."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return [Path(pattern.format(runtime=runtime)).expanduser() for pattern in patterns]


def sockets() -> list[Path]:
    """The sockets of all daemons that are there: whoever reaches one is root on this machine, or as good."""
    paths = socket_paths((*DOCKER_SOCKETS, *PODMAN_SOCKETS), os.environ)
    named = (os.environ.get(name, "") for name in ("DOCKER_HOST", "CONTAINER_HOST"))
    paths += [Path(url.removeprefix("unix://")) for url in named if url.startswith("unix://")]
    return [path for path in paths if _may_exist(path)]


def dangers_of_path(source: str, state_dir: Path | None, daemons: Sequence[Path]) -> Iterator[Danger]:
    """Why a container must not see a path of this machine.

    The state directory is among the reasons: the keeper listens there, and starts what it is told to.
    """
    path = Path(real_path(source))
    if path == Path("/"):
        yield "root_mount"
        return
    if any(Path(os.path.realpath(daemon)).is_relative_to(path) for daemon in daemons):
        yield "docker_socket"
    if state_dir is not None and _overlap(path, Path(os.path.realpath(state_dir))):
        yield "state_dir"


def real_path(source: str) -> str:
    """Where a path of this machine leads: what is asked about is what is shared in the end."""
    return os.path.realpath(Path(source).expanduser())


def _may_exist(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # we may not look, but a daemon that is root may
        return True
    return True


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
