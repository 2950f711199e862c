"""Daemons that are down, hang or refuse, and types that ask for too much, as a user meets them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio

from mahavishnu_container import runtime
from mahavishnu_core import WorkerManager, WorkerStatus
from mahavishnu_core.errors import MissingError
from tests.faults.site import Site

pytest.importorskip("mahavishnu_cli")
pytest.importorskip("mahavishnu_shell")
pytestmark = pytest.mark.thorough

DENIED = b'{"message":"authorization denied"}'
ANSWERS = {
    "is down": None,
    "refuses": b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(DENIED), DENIED),
    "is none": b"SSH-2.0-OpenSSH_9.2\r\n",
}
SAID = {"refuses": "Docker says: authorization denied: see to it"}
SHELL = {"agent": "shell", "command_template": "/bin/sh -c", "progress_tracking": "lines"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "user")
    (tmp_path / "run").mkdir()
    site.more["DOCKER_HOST"] = f"unix://{tmp_path}/run/docker.sock"
    yield site
    assert site.left() == []


class Daemon:
    """What listens in the place of a daemon, and answers every request alike; with None it never does."""

    def __init__(self, path: Path, answer: bytes | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, args=(answer,))
        self._thread.start()

    def _serve(self, answer: bytes | None) -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                if answer is not None:
                    with suppress(OSError), connection:
                        if connection.recv(65536):
                            connection.sendall(answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._socket, *self._open):
            each.close()


@pytest.mark.parametrize("how", ANSWERS)
def test_f1_a_daemon_that_does_not_serve_is_one_line_and_other_workers_go_on(
    site: Site, tmp_path: Path, how: str
) -> None:
    answer, words = ANSWERS[how], SAID.get(how, "Docker does not answer at ")
    if answer is None:
        require_one_line(site, words)
        return
    with closing(Daemon(tmp_path / "run/docker.sock", answer)):
        require_one_line(site, words)


def require_one_line(site: Site, words: str) -> None:
    ran = site.execute("container", count=3)
    assert (ran.status, ran.out) == (3, "")
    (line,) = ran.err.splitlines()
    assert line.startswith(f"mahavishnu: {words}")
    assert line.endswith("DOCKER_HOST")
    assert ran.seconds < 10
    ran = site.batch(
        *({"worker_type": kind, "prompt": "echo done"} for kind in ("shell", "container", "shell"))
    )
    print(ran)
    assert [result.output for result in ran.results if result.is_success()] == ["done", "done"]
    assert words in "".join(str(result.error) for result in ran.results) + ran.err
    checked = site.run("doctor").out
    assert f"warn  type container-executor: {words}".rpartition(":")[0] in checked
    assert "Traceback" not in checked


async def test_f1_a_daemon_that_hangs_is_waited_for_so_long_and_other_workers_go_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PATIENCE", 1)
    for name, value in site.environ.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    with closing(Daemon(tmp_path / "run/docker.sock", None)), trio.fail_after(30):
        async with WorkerManager(site.app) as manager, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def spawn() -> None:
                with pytest.raises(MissingError) as caught:
                    await manager.spawn_workers("container", 3, repo=site.work)
                said.append(str(caught.value))

            (near,) = await manager.spawn_workers("shell", repo=site.work)
            result = await manager.execute_task(near, "echo done")
            assert (result.status, result.output, said) == (WorkerStatus.COMPLETED, "done", [])
    assert said[0].startswith("Docker has not answered for 1 s at ")


def test_f4_what_is_not_safe_is_refused_unless_its_word_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "run/docker.sock").touch()
    unsafe: dict[str, dict[str, object]] = {
        "privileged": {"privileged": True, "user": "65534"},
        "host_network": {"network": "host"},
        "root_mount": {"mounts": [{"source": "/", "target": "/host"}]},
        "docker_socket": {"mounts": [{"source": f"{tmp_path}/run", "target": "/run"}]},
    }
    boxed = {"place": "container", **SHELL}
    site.types(*({"name": f"x-{word}", "options": options, **boxed} for word, options in unsafe.items()))
    for command in ("config check", "workers execute -t x-privileged -p x", "workers execute -t shell -p x"):
        ran = site.run(*command.split())
        assert (ran.status, ran.out, len(ran.err.splitlines())) == (2, "", len(unsafe)), ran.err
        for word in unsafe:
            assert ran.err.count(f"is not safe: it needs '{word}' in allow_unsafe") == 1
    allowed = {word: {**options, "allow_unsafe": [word]} for word, options in unsafe.items()}
    site.types(*({"name": f"x-{word}", "options": options, **boxed} for word, options in allowed.items()))
    assert site.run("config", "check").status == 0
