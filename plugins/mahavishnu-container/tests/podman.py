"""A Podman of the tests' own: its service, images and containers, below one directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .daemon import (
    LONGEST_SOCKET,
    PATIENCE,
    answers,
    end_leftovers,
    find_program,
    start_program,
    unmount_all,
    wait_until_up,
)

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[network]
network_config_dir = "{root}/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
init_path = "{init}"
runtime = "runc"
"""
"""Debian's Podman 4.3 looks for its init elsewhere, and raises limits that are not ours to raise."""


@attrs.define(eq=False)
class Podman:
    """A ``podman system service`` and all that is its own, in one directory."""

    root: Path
    client: DockerClient = attrs.field(init=False)
    """Docker's SDK: Podman understands it."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return _socket(self.root)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def environ(self) -> Mapping[str, str]:
        """What a client finds it by."""
        return {"CONTAINER_HOST": self.url}

    @property
    def is_up(self) -> bool:
        """Whether it answers."""
        return answers(self.socket)

    def start(self) -> None:
        """Start the service, and return when it answers. Raises NotStarted."""
        assert self._process is None, "it is running"
        config = self.root / "containers.conf"
        config.write_text(_CONFIG.format(root=self.root, init=find_program("catatonit")))
        command = [
            "podman",
            *("--root", str(self.root / "data")),
            *("--runroot", str(self.root / "run")),
            *("--tmpdir", str(self.root / "tmp")),
            *("system", "service", "--time", "0", self.url),
        ]
        environ = {"CONTAINERS_CONF": str(config)}
        self._process = start_program(command, self.root, self.root / "log", environ)
        wait_until_up(self._process, partial(answers, self.socket), self.root / "log")

    def stop(self) -> None:
        """End the service; its containers go on, as Podman's do."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def containers(self) -> list[Container]:
        """All that there are, those that do not run among them."""
        return list(self.client.containers.list(all=True, ignore_removed=True))

    def remove_containers(self) -> list[str]:
        """Remove all that there are, whatever they do; their names."""
        found = self.containers()
        for container in found:
            container.remove(force=True, v=True)
        return [str(container.name) for container in found]


@contextmanager
def run_podman(root: Path) -> Iterator[Podman]:
    """A running service. In the end nothing is left of it: no process, no mount, not even the directory."""
    import docker  # takes 160 ms, and is not there where the plugin is not

    assert len(os.fsencode(_socket(root))) < LONGEST_SOCKET, f"too long for a socket: {_socket(root)}"
    podman = Podman(root)
    try:
        podman.start()
        with closing(docker.DockerClient(base_url=podman.url)) as podman.client:
            try:
                yield podman
            finally:
                if not podman.is_up:
                    podman.restart()
                podman.remove_containers()
    finally:
        podman.stop()
        left = end_leftovers(root)
        unmount_all(root)
        shutil.rmtree(root)
    assert left == [], f"could not be ended: {left}"


def _socket(root: Path) -> Path:
    return root / "podman.sock"
