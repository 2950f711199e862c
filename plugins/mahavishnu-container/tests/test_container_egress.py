"""The document's recipe for a network with one way out: a proxy, which knows a few names and no others."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.documents import document

from .daemon import Daemon, require_programs, run_daemon
from .images import base_image, egress_image

pytestmark = pytest.mark.container
PAGE = document("docs/containers.md")
REACHED = "you are outside"
SERVER = f"""
nc -ll -p 443 -e echo {REACHED} &
mkdir /tmp/www
echo {REACHED} > /tmp/www/index.html
exec httpd -fh /tmp/www
"""
ASK = """
tunnel() { printf 'CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' $1 $1 | nc -w 5 egress 8888; }
page() { http_proxy=$HTTP_PROXY wget -q -O - "http://$1/" 2>&1; }
"""


def recipe(start: str) -> str:
    """The block of the document that begins with this."""
    (block,) = [block for block in PAGE.blocks("text") if block.startswith(start)]
    return block


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One whose containers can have networks: apart from this machine's, out of which no way leads."""
    require_programs("dockerd", "docker-init", "docker", "busybox", "unshare", "iptables", "tinyproxy")
    with run_daemon(Path(tempfile.mkdtemp(prefix="mvd-", dir="/tmp")), has_networks=True) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def image(daemon: Daemon) -> str:
    return base_image(daemon)


@pytest.fixture
def outside(daemon, image):
    """The address of a server that stands for the whole Internet."""
    server = daemon.client.containers.run(image, ["sh", "-c", SERVER], init=True, detach=True)
    server.reload()
    yield server.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    server.remove(force=True)


@pytest.fixture
def proxy(daemon, outside):
    """The proxy, by the document's own commands and files; it takes two names for the server's."""
    files = {"tinyproxy.conf": recipe("Port 8888"), "allowed": "^api\\.anthropic\\.com$\n"}
    assert "`^api\\.anthropic\\.com$`" in PAGE.text
    egress_image(daemon, files)
    build, *commands = recipe("docker build").splitlines()
    assert build == "docker build -t egress ."
    names = f"--add-host api.anthropic.com:{outside} --add-host example.com:{outside}"
    script = "\n".join(commands).replace("--name egress", f"--name egress {names}")
    subprocess.run(["sh", "-ec", script], env={**daemon.environ, "PATH": os.environ["PATH"]}, check=True)
    yield
    daemon.client.containers.get("egress").remove(force=True)
    daemon.client.networks.get("models").remove()


@pytest.fixture
async def boxed(yard, proxy):
    """A worker of the document's type, with a shell in it instead of claude."""
    (block,) = [block for block in PAGE.blocks("yaml") if "HTTPS_PROXY" in block]
    (kind,) = yaml.safe_load(block)
    yard.add_type(env=kind["env"], options={"network": kind["options"]["network"]})
    async with yard.worker() as boxed:
        yield boxed


async def test_a_name_that_is_allowed_is_reached_by_the_proxy(boxed):
    result = await boxed.do(f"{ASK} tunnel api.anthropic.com:443; page api.anthropic.com")
    assert "HTTP/1.0 200 Connection established" in result.output, result
    assert REACHED in result.output


async def test_others_are_refused(boxed, outside):
    names = ["example.com", outside, "api.anthropic.com.example.com", "127.0.0.1"]
    told = [await boxed.do(f"{ASK} tunnel {name}:443; page {name}") for name in names]
    assert [result.output.count("HTTP/1.1 403") for result in told] == [2] * len(names), told
    assert not [result for result in told if REACHED in result.output]
    port = await boxed.do(f"{ASK} tunnel api.anthropic.com:80")
    assert "403" in port.output


async def test_nobody_is_reached_without_the_proxy(boxed, outside):
    reached = await boxed.do(
        f"nc -w 3 {outside} 443 </dev/null; wget -T 3 -q -O - http://{outside}/; ip route"
    )
    assert REACHED not in reached.output, reached
