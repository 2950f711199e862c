"""A Docker daemon of the tests' own: socket, images and containers; killed and started as a test wants it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from mahavishnu_core.keeper.family import Process, read_process
from mahavishnu_core.testing.processes import left_by_test, wait_until_gone

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

PATIENCE = 60.0
"""Seconds for what takes one or two on a busy machine."""
LONGEST_SOCKET = 100
"""Bytes of a socket's path; Linux takes 107."""
_PAUSE = 0.05
_PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin"


class NotStarted(Exception):
    """A program did not come up; says what it wrote last."""


def require_programs(*programs: str) -> None:
    """Skips a test without its programs, or fails it where MAHAVISHNU_REQUIRE_CONTAINERS is set."""
    missing = [program for program in programs if find_program(program) is None]
    lacks = [f"not in PATH: {', '.join(missing)}"] if missing else []
    if os.geteuid() != 0:
        lacks.append("not root, as who starts a daemon has to be")
    if lacks:
        text = f"{'; '.join(lacks)}; 'nox -s containers' installs what is needed and runs these tests"
        (pytest.fail if os.environ.get("MAHAVISHNU_REQUIRE_CONTAINERS") else pytest.skip)(text)


def find_program(name: str) -> str | None:
    """Where a program is; daemons lie where only root looks."""
    return shutil.which(name, path=_PATH)


@attrs.define(eq=False)
class Daemon:
    """A ``dockerd`` and all that is its own, in one directory."""

    root: Path
    has_networks: bool = False
    """Whether containers can have a network: it is one of its own then, out of which no way leads."""
    client: DockerClient = attrs.field(init=False)
    """The SDK's; it goes on working when the daemon was killed and started again."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return _socket(self.root)

    @property
    def url(self) -> str:
        """What ``DOCKER_HOST`` has to be for a client to find it."""
        return f"unix://{self.socket}"

    @property
    def environ(self) -> Mapping[str, str]:
        """What a client finds it by."""
        return {"DOCKER_HOST": self.url}

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether it answers."""
        return answers(self.socket)

    def start(self) -> None:
        """Start it, for the first time or again, and return when it answers. Raises NotStarted."""
        assert self._process is None, "it is running"
        command = [
            "dockerd",
            *("--host", self.url),
            *("--data-root", str(self.root / "data")),
            *("--exec-root", str(self.root / "exec")),
            *("--pidfile", str(self.root / "pid")),
        ]
        if self.has_networks:
            command = ["unshare", "--net", "sh", "-c", 'busybox ip link set lo up; exec "$@"', "sh", *command]
        else:
            command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        self._process = start_program(command, self.root, self.root / "log")
        try:
            wait_until_up(self._process, partial(answers, self.socket), self.root / "log")
        except NotStarted:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a crash would: its containers and the socket's file stay."""
        self._end(signal.SIGKILL)
        self._forget_containerd()

    def stop(self) -> None:
        """End it as a service manager would: it stops its containers first."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it in the midst of what it does, and start it again."""
        self.kill()
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

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def _forget_containerd(self) -> None:
        """Wait for the end of containerd, which the kernel brings about with that of its parent.

        Docker 20.10 takes the pid in its file for a containerd in use, for as long as nobody has reaped that.
        """
        file = self.root / "exec/containerd/containerd.pid"
        if file.exists():
            pid = int(file.read_text())
            left = wait_until_gone(partial(_living, pid), PATIENCE)
            assert left == [], f"it has survived its parent: {left}"
            file.unlink()

    def _leave(self) -> None:
        """Remove the containers, for which a daemon that was killed has to come up once more, and stop."""
        try:
            if not self.is_up:
                self.restart()
            self.remove_containers()
        finally:
            self.stop()


@contextmanager
def run_daemon(root: Path, *, has_networks: bool = False) -> Iterator[Daemon]:
    """A running daemon. In the end nothing is left of it: no process, no mount, not even the directory."""
    import docker  # takes 160 ms, and is not there where the plugin is not

    assert len(os.fsencode(_socket(root))) < LONGEST_SOCKET, f"too long for a socket: {_socket(root)}"
    daemon = Daemon(root, has_networks)
    try:
        daemon.start()
        with closing(docker.DockerClient(base_url=daemon.url)) as daemon.client:
            try:
                yield daemon
            finally:
                daemon._leave()
    finally:
        left = end_leftovers(root)
        unmount_all(root)
        shutil.rmtree(root)
    assert left == [], f"could not be ended: {left}"


def start_program(
    command: Sequence[str], directory: Path, log: Path, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start what serves the tests in the background, beyond the reach of Ctrl-C at the terminal.

    Its environment is no test's, so that no test takes it, or what it starts, for something of its own.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=directory,
            env={"PATH": _PATH, "HOME": str(directory), "LANG": "C.UTF-8", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_up(process: subprocess.Popen[bytes], is_up: Callable[[], bool], log: Path) -> None:
    """Return when a program that was started is up. Raises NotStarted."""
    for _ in range(int(PATIENCE / _PAUSE)):
        if is_up():
            return
        try:
            code = process.wait(_PAUSE)
        except subprocess.TimeoutExpired:
            continue
        raise NotStarted(f"it has ended with {code}:\n{_tail(log)}")
    raise NotStarted(f"it is not up after {PATIENCE:g} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-30:])


def _socket(root: Path) -> Path:
    return root / "docker.sock"


def answers(path: Path) -> bool:
    """Whether a daemon listens at a socket and says so."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        try:
            link.connect(str(path))
            link.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in link.recv(64)
        except OSError:
            return False


def _living(pid: int) -> list[Process]:
    process = read_process(pid)
    return [process] if process is not None and not process.is_zombie else []


def end_leftovers(root: Path) -> list[str]:
    """End what a daemon has left and names this directory: containerd, conmon, and what runs under them."""
    for process in left_by_test(root):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return [str(each) for each in wait_until_gone(partial(left_by_test, root), PATIENCE)]


def unmount_all(root: Path) -> None:
    """Unmount what is left in a directory, the innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if Path(mount).is_relative_to(root)]):
        subprocess.run(["umount", "--lazy", mount], check=True, timeout=PATIENCE)
