"""Who calls over HTTP: a worker's program is known by its socket, however it came by the token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from mahavishnu_core.errors import UsageError
from mahavishnu_mcp.callers import depth_of_client, refuse_workers

CALLS = "import socket, sys; s = socket.create_connection(('{}', {})); sys.stdin.read()"


@contextmanager
def called(
    environ: Mapping[str, str], *, by_a_child: bool = False, host: str = "127.0.0.1"
) -> Iterator[tuple]:
    """The ports of both ends of a connection that a program with that environment opens, or its child."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        own_port = listening.getsockname()[1]
        argv = [sys.executable, "-I", "-S", "-c", CALLS.format(host, own_port)]
        if by_a_child:
            argv = ["/bin/sh", "-c", 'env -i "$@"; :', "sh", *argv]
        with subprocess.Popen(argv, env=dict(environ), stdin=subprocess.PIPE) as program:
            connection, (_, port, *_) = listening.accept()
            with connection:
                yield port, own_port
            program.stdin.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_workers_program_is_known(host):
    with called({"MAHAVISHNU_DEPTH": "2"}, host=host) as ports:
        assert depth_of_client(*ports) == 2


def test_a_program_that_a_worker_started_with_no_variables_is_known():
    with called({"MAHAVISHNU_DEPTH": "1", "PATH": os.environ["PATH"]}, by_a_child=True) as ports:
        assert depth_of_client(*ports) == 1


def test_any_other_program_is_nobodys_worker():
    with called({}) as ports:
        assert depth_of_client(*ports) == 0


def test_a_connection_that_is_not_there_is_nobodys():
    with called({"MAHAVISHNU_DEPTH": "2"}) as (port, own_port):
        assert depth_of_client(port, own_port ^ 1) == 0


def context(port: int, own_port: int) -> SimpleNamespace:
    """A call as a tool sees it over HTTP."""
    request = SimpleNamespace(client=SimpleNamespace(port=port), scope={"server": ("127.0.0.1", own_port)})
    return SimpleNamespace(request_context=SimpleNamespace(request=request))


async def test_a_worker_is_refused_and_told_why():
    refusal = r"^the program that calls is itself a worker \(depth 1\)"
    with called({"MAHAVISHNU_DEPTH": "1"}) as ports, pytest.raises(UsageError, match=refusal):
        await refuse_workers(context(*ports))


async def test_others_are_let_through():
    with called({}) as ports:
        await refuse_workers(context(*ports))
    await refuse_workers(SimpleNamespace(request_context=SimpleNamespace(request=None)))
