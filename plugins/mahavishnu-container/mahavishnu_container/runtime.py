"""The daemon that makes containers, Docker or Podman: found, asked in threads, its errors in words."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import attrs
import trio

from mahavishnu_container.danger import DOCKER_SOCKETS, PODMAN_SOCKETS, socket_paths
from mahavishnu_core.errors import MahavishnuError, MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import ParamSpec

    import docker

    from mahavishnu_container.recipe import Daemon
    from mahavishnu_core import Engine

    P = ParamSpec("P")

T = TypeVar("T")
PATIENCE = 30
"""Seconds in which a daemon must have answered a call."""
_AT_ONCE = 8
"""Calls at one time: a daemon does not get faster with more."""
RUNTIMES: tuple[Literal["docker", "podman"], ...] = ("docker", "podman")
_NAMES = {"docker": "Docker", "podman": "Podman"}
_VARIABLES = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}
_SOCKETS = {"docker": DOCKER_SOCKETS, "podman": PODMAN_SOCKETS}


@attrs.frozen
class Runtime:
    """A connection to a daemon on this machine."""

    name: Literal["docker", "podman"]
    socket: str
    client: docker.DockerClient
    version: str
    kind: Daemon
    _limiter: trio.CapacityLimiter
    pulling: trio.Lock = attrs.field(factory=trio.Lock)
    """Held while an image is looked for and pulled."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the SDK in a thread. Raises MissingError where the daemon is gone, MahavishnuError.

        When the caller is cancelled it goes on by itself: what it makes carries our labels.
        """
        return await _in_thread(self.name, self.socket, self._limiter, partial(function, *args, **kwargs))

    async def finish(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what must not go on by itself: once begun it is waited for, cancelled or not."""
        call = partial(function, *args, **kwargs)
        return await _in_thread(self.name, self.socket, self._limiter, call, abandon=False)

    async def remove(self, container: str) -> None:
        """Take a container away, with all that runs in it; one that is gone is fine. Raises as ``call``."""
        await self.call(_remove, self.client, container)


async def open_runtime(engine: Engine, name: Literal["docker", "podman"], socket: str = "") -> Runtime:
    """The daemon at a socket, or the one to be found, as this engine has it. Raises as ``find_socket``."""
    socket = socket or find_socket(name, os.environ)
    return await engine.hold(f"container {name} {socket}", partial(_open, name, socket))


def find_socket(name: Literal["docker", "podman"], environ: Mapping[str, str]) -> str:
    """Where the daemon listens. Raises UsageError for one elsewhere, MissingError where there is none."""
    variable = _VARIABLES[name]
    if given := environ.get(variable):
        if not given.startswith("unix://"):
            raise UsageError(
                f"{variable}={given}: containers need a daemon on this machine, with which they share "
                f"directories: set {variable} to unix:///PATH"
            )
        return given.removeprefix("unix://")
    paths = socket_paths(_SOCKETS[name], environ)
    for path in paths:
        if os.path.exists(path):  # noqa: PTH110  # False also where we may not look: /run/podman is root's
            return str(path)
    raise MissingError(
        f"{_NAMES[name]} does not run here: install and start it, or name its socket in {variable} "
        f"(looked for {', '.join(map(str, paths))})"
    )


@asynccontextmanager
async def _open(name: Literal["docker", "podman"], socket: str) -> AsyncIterator[Runtime]:
    await _require_listener(name, socket)
    limiter = trio.CapacityLimiter(_AT_ONCE)
    try:
        client, version, kind = await _in_thread(name, socket, limiter, partial(_connect, socket))
    except MissingError:
        raise
    except MahavishnuError as error:  # it hangs, or does not let us in
        raise MissingError(f"{error}: see to it, or name another socket in {_VARIABLES[name]}") from error
    try:
        yield Runtime(name, socket, client, version, kind, limiter)
    finally:
        client.close()


async def _require_listener(name: str, socket: str) -> None:
    """Raises MissingError where nobody listens: the SDK takes long to load, and leaks a socket then."""
    try:
        stream = await trio.open_unix_socket(socket)
    except PermissionError as error:
        text = f"you may not talk to {_NAMES[name]} at {socket}: join its socket's group, or run your own"
        raise MissingError(text) from error
    except OSError as error:
        raise _absent(name, socket) from error
    await stream.aclose()


def _absent(name: str, socket: str) -> MissingError:
    return MissingError(
        f"{_NAMES[name]} does not answer at {socket}: start it, or name its socket in {_VARIABLES[name]}"
    )


def _connect(socket: str) -> tuple[docker.DockerClient, str, Daemon]:
    import docker  # here, in the thread: it takes 160 ms to load

    client = docker.DockerClient(f"unix://{socket}", timeout=PATIENCE)
    try:
        info = client.info()
    except BaseException:
        client.close()
        raise
    return client, str(info.get("ServerVersion", "?")), kind_of(info.get("SecurityOptions") or [])


def kind_of(security_options: Sequence[str]) -> Daemon:
    """What a daemon says of itself: ``["name=seccomp,profile=default", "name=rootless"]``."""
    if any(option.startswith("name=rootless") for option in security_options):
        return "rootless"
    return "remapped" if any(option.startswith("name=userns") for option in security_options) else "plain"


def _remove(client: docker.DockerClient, container: str) -> None:
    from docker.errors import APIError, NotFound

    try:
        client.api.remove_container(container, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # somebody else is removing it
            raise


async def _in_thread(
    name: str, socket: str, limiter: trio.CapacityLimiter, function: Callable[[], T], *, abandon: bool = True
) -> T:
    try:
        return await trio.to_thread.run_sync(function, limiter=limiter, abandon_on_cancel=abandon)
    except Exception as error:
        if (response := getattr(error, "response", None)) is not None:
            response.close()  # of one that was to be read piece by piece the SDK keeps the connection
        raise explained(name, socket, error) from error


def explained(name: str, socket: str, error: Exception) -> MahavishnuError:
    """What went wrong, in words. An error of neither the SDK nor its connection is raised again."""
    from http.client import HTTPException

    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException, Timeout
    from urllib3 import exceptions as urllib3  # what is read piece by piece does not come by requests

    called, cause = _NAMES[name], error.__cause__
    if type(error) is DockerException and isinstance(cause, APIError | RequestException):
        error = cause  # of the SDK's first call, which it wraps in a bare one
    if isinstance(error, Timeout | urllib3.TimeoutError):
        return MahavishnuError(f"{called} has not answered for {PATIENCE} s at {socket}")
    if isinstance(error, APIError):
        return MahavishnuError(f"{called} says: {error.explanation or error}")
    if isinstance(error, RequestException | DockerException | urllib3.HTTPError | HTTPException | OSError):
        return _absent(name, socket)
    raise error
