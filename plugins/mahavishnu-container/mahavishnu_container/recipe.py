"""What a daemon is told to make: the arguments of one container, from a worker and its options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

import attrs

from mahavishnu_container.danger import real_path
from mahavishnu_container.options import plain_path
from mahavishnu_container.shim.box import BOXES, WORKSPACE

if TYPE_CHECKING:
    from docker.types import Mount

    from mahavishnu_container.options import ContainerOptions
    from mahavishnu_core import Worker

Daemon: TypeAlias = Literal["plain", "rootless", "remapped"]
"""What the numbers of users mean in a daemon's containers: the same as here, or not."""
_RESIDENT = ["sleep", "2147483647"]
"""What keeps a container up: every image with a shell has it."""


@attrs.frozen
class User:
    """Who a container's commands run as."""

    uid: int
    gid: int
    is_us: bool
    """Whether files of theirs are ours on this machine."""

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"

    @property
    def resident(self) -> str:
        """Another user, whom they cannot signal, for the process that keeps the container up."""
        return "65533:65533" if self.uid == 65534 else "65534:65534"


def user_of(options: ContainerOptions, kind: Daemon) -> User:
    """Where the daemon is not root, its user is root in its containers; where it remaps, nobody is us."""
    ours = User(0, 0, True) if kind == "rootless" else User(os.geteuid(), os.getegid(), kind == "plain")
    if options.user is None:
        return ours
    uid, _, gid = options.user.partition(":")
    return User(int(uid), int(gid or uid), ours.is_us and int(uid) == ours.uid)


def container_name(worker_id: str) -> str:
    return f"mahavishnu-{worker_id}"


class Recipe(TypedDict):
    """Arguments of ``docker.DockerClient.containers.create``."""

    image: str
    entrypoint: list[str]
    command: list[str]
    name: str
    labels: dict[str, str]
    init: bool
    user: str
    network_mode: str
    cap_drop: list[str]
    security_opt: list[str]
    privileged: bool
    read_only: bool
    mem_limit: str
    memswap_limit: str
    nano_cpus: int | None
    pids_limit: int
    tmpfs: dict[str, str]
    mounts: list[Mount]
    working_dir: str


def recipe(
    worker: Worker, options: ContainerOptions, user: User, boxes: Path, labels: dict[str, str]
) -> Recipe:
    """A container that can do what its worker's commands must, and no more."""
    return Recipe(
        image=options.image,
        entrypoint=_RESIDENT,
        command=[],
        name=container_name(worker.worker_id),
        labels=labels,
        init=True,
        user=user.resident,
        network_mode=options.network,
        cap_drop=[] if options.privileged else ["ALL"],
        security_opt=[] if options.privileged else ["no-new-privileges"],
        privileged=options.privileged,
        read_only=options.read_only,
        mem_limit=options.memory,
        memswap_limit=options.memory,
        nano_cpus=None if options.cpus is None else int(options.cpus * 1e9),
        pids_limit=options.pids,
        tmpfs=_tmpfs(options, user),
        mounts=_mounts(worker, options, boxes),
        working_dir=WORKSPACE,
    )


def _tmpfs(options: ContainerOptions, user: User) -> dict[str, str]:
    """Directories in memory, in which programs may run.

    Docker gives them to the command's user; Podman 4.3 knows no ``uid`` here. A mode alone would not do:
    where the directory is there, as when the container is started again, it keeps its own (runc 1.1).
    """
    temporary = {"/tmp"} if options.read_only else set[str]()  # noqa: S108  # the container's own
    owner = f",uid={user.uid},gid={user.gid}" if options.runtime == "docker" else ""
    return dict.fromkeys(
        sorted({*map(plain_path, options.tmpfs)} | temporary), f"rw,exec,nosuid,nodev,mode=1777{owner}"
    )


def _mounts(worker: Worker, options: ContainerOptions, boxes: Path) -> list[Mount]:
    from docker.types import Mount

    seen = [
        (WORKSPACE, str(worker.workspace), True),
        (BOXES, str(boxes), True),
        *((mount.target, mount.source, mount.writable) for mount in options.mounts),
    ]
    return [
        Mount(target, real_path(source), type="bind", read_only=not writable)
        for target, source, writable in seen
    ]
