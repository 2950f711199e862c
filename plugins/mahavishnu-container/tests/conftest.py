"""Fixtures of tests with real containers: a daemon and an image for all of them, and a check after each."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingUnixStreamServer

import pytest

from mahavishnu_core.app import App
from tests.scripted_model.server import ModelServer, serve

from .daemon import Daemon, find_program, require_programs, run_daemon
from .images import base_image, claude_image, run_registry
from .yard import Yard


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon of this process's own, below /tmp: the path of a socket has to be short."""
    require_programs("dockerd", "docker-init", "busybox")
    with run_daemon(Path(tempfile.mkdtemp(prefix="mvd-", dir="/tmp"))) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def image(daemon: Daemon) -> str:
    """An image with Busybox."""
    return base_image(daemon)


@pytest.fixture
def yard(app: App, daemon: Daemon, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """What a test needs to have workers in containers."""
    monkeypatch.setenv("DOCKER_HOST", daemon.url)
    (tmp_path / "workspace").mkdir()
    return Yard(app, daemon, image, tmp_path / "workspace")


@pytest.fixture(scope="session")
def registry(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry on loopback."""
    require_programs("docker-registry")
    with run_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def claude(daemon: Daemon) -> str:
    """An image with the real claude, that of npm."""
    require_programs("claude", "bash")
    program = Path(str(find_program("claude"))).resolve()
    return claude_image(daemon, node_modules=program.parents[3])


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """The scripted model, one for all tests."""
    with serve() as server:
        yield server


@pytest.fixture(scope="session")
def model_socket(model: ModelServer) -> Iterator[Path]:
    """A socket by which the model can be heard where there is no network; alone in its directory.

    A claude that has its path in ``ANTHROPIC_UNIX_SOCKET`` asks there and nowhere else (seen in 2.1.197).
    """
    directory = Path(tempfile.mkdtemp(prefix="mvm-", dir="/tmp"))
    directory.chmod(0o755)  # any user of a container may come in
    with closing(_Door(directory / "model.sock", model.port)):
        yield directory / "model.sock"
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def _no_container_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a container or no daemon; the next one finds neither fault."""
    if "daemon" not in request.fixturenames:
        yield
        return
    daemon: Daemon = request.getfixturevalue("daemon")
    yield
    was_up = daemon.is_up
    if not was_up:
        daemon.restart()
    left = daemon.remove_containers()
    assert was_up, "the test has left the daemon down"
    assert left == [], f"containers left: {', '.join(left)}"


class _Door(ThreadingUnixStreamServer):
    """Takes connections of a Unix socket on to a port of loopback."""

    def __init__(self, path: Path, port: int) -> None:
        super().__init__(str(path), _Passage)
        self.port = port
        path.chmod(0o666)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Returns when no thread is left; the containers that were connected have to be gone."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Passage(BaseRequestHandler):
    server: _Door
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as beyond:
            back = threading.Thread(target=_carry, args=(beyond, self.request))
            back.start()
            _carry(self.request, beyond)
            back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, and tell the target; either may be gone at any time."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
