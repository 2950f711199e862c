"""The daemon that the tests start: that it comes up, again too, has images, and leaves nothing behind."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

import pytest

from mahavishnu_core.testing.processes import left_by_test, lives
from tests.scripted_model import clients

from .daemon import NotStarted, run_daemon
from .images import base_image, pushed_image

pytestmark = pytest.mark.container
FOREVER = ["sleep", "infinity"]


def short_directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="mvd-", dir="/tmp"))


@pytest.fixture
def create(daemon, image):
    """Creates a container as workers have them."""
    return partial(daemon.client.containers.create, image, init=True, network_mode="none")


def test_a_container_runs_the_commands_of_the_image(create):
    container = create(["sh", "-c", "id -un; ls -ld /tmp | cut -c-10; env | grep PATH"], user="nobody")
    container.start()
    assert container.wait()["StatusCode"] == 0
    assert container.logs().decode().split() == ["nobody", "drwxrwxrwt", "PATH=/bin"]
    container.remove()


def test_a_killed_daemon_comes_up_again_and_its_containers_can_be_started(daemon, create):
    container = create(FOREVER)
    container.start()
    daemon.kill()
    assert not daemon.is_up
    daemon.start()
    container.reload()
    assert container.status == "exited"
    container.start()
    assert container.exec_run(["echo", "here"]).output == b"here\n"
    container.remove(force=True)


def test_a_pulled_image_shows_its_progress(daemon, registry, image):
    name = pushed_image(daemon, registry)
    steps = list(daemon.client.api.pull(name, tag="latest", stream=True, decode=True))
    assert {"Downloading", "Extracting", "Pull complete"} <= {step["status"] for step in steps}
    assert daemon.client.images.get(name).id != daemon.client.images.get(image).id
    daemon.client.images.remove(name)


@pytest.mark.parametrize("user", [0, 65534])
def test_claude_hears_the_model_without_a_network(daemon, claude, model, model_socket, user):
    key = f"write_file+in-a-container-as-{user}"
    environ = clients.claude_env(model.url(key), Path("/home/worker"))
    container = daemon.client.containers.create(
        claude,
        ["claude", "-p", "Write it", "--output-format", "json", "--permission-mode", "acceptEdits"],
        init=True,
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        user=f"{user}:{user}",
        working_dir="/home/worker",
        tmpfs={"/tmp": "exec", "/home/worker": f"exec,uid={user},gid={user},mode=0700"},
        volumes={str(model_socket.parent): {"bind": "/model", "mode": "rw"}},
        environment={**environ, "ANTHROPIC_UNIX_SOCKET": f"/model/{model_socket.name}"},
    )
    container.start()
    assert container.wait()["StatusCode"] == 0
    told = json.loads(container.logs(stderr=False))
    assert told["result"].startswith("Done. The tool said:")
    assert len(model.calls(key)) == 2
    container.remove()


@pytest.mark.parametrize("ends", ["stopped", "killed"])
def test_nothing_is_left_of_a_daemon(daemon, ends):
    root = short_directory()
    with run_daemon(root) as other:
        container = other.client.containers.create(base_image(other), FOREVER, init=True, network_mode="none")
        container.start()
        container.reload()
        inner = container.attrs["State"]["Pid"]
        assert lives(inner)
        if ends == "killed":
            other.kill()
    assert not lives(inner)
    assert left_by_test(root) == []
    assert not root.exists()
    assert str(root) not in Path("/proc/self/mountinfo").read_text()


def test_nothing_is_left_of_a_daemon_whose_test_fails(daemon):
    root = short_directory()

    def fail() -> None:
        with run_daemon(root) as other:
            other.client.containers.create(base_image(other), FOREVER, init=True, network_mode="none").start()
            other.kill()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert left_by_test(root) == []
    assert not root.exists()


def test_a_daemon_that_does_not_come_up_says_why(daemon):
    root = short_directory()
    (root / "data").write_text("in the way")
    with pytest.raises(NotStarted, match=r"(?s)ended with 1:.*points to a file"), run_daemon(root):
        pass
    assert not root.exists()
