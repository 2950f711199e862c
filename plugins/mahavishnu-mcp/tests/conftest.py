"""What the tests of the MCP server share: a place without processes, servers on it, and clients in memory."""

from __future__ import annotations

import gc
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import TypeAlias, get_args

import attrs
import msgspec
import pytest
import trio
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resources import templates
from mcp.server.mcpserver.tools import base
from trio.testing import MockClock

from mahavishnu_core import Task, Worker, WorkerResult, WorkerType, hookimpl
from mahavishnu_core.app import App
from mahavishnu_core.events import Event, Finished, Text, Tokens, event_name
from mahavishnu_core.testing.fakes import FakeRun, Hang, Leave, Say, Script
from mahavishnu_mcp.server import open_server
from mahavishnu_mcp.service import Roots, Service
from tests.fakes import SharedPlace, app_of

gc.freeze()  # the SDK is some 100 MB of objects, in which every test of any file would look for garbage

PATIENCE = 600.0
"""By the mock clock, and longer than any time limit: whoever waits that long waits for ever."""
KINDS = {event_name(kind): kind for kind in get_args(Event)}
Step: TypeAlias = Event | Say | Leave | Hang | float


class EventParser:
    """Reads events that are written as JSON; any other line is a text. A text ``answer: ...`` ends a task."""

    def feed(self, lines: list[object]) -> list[Event]:
        return [self._read(line) for line in lines]

    def end(self, exit: object, stderr: str) -> list[Event]:
        return []

    @staticmethod
    def _read(line: object) -> Event:
        if isinstance(line, dict):
            fields = {name: Tokens(**value) if name == "tokens" else value for name, value in line.items()}
            return KINDS[fields.pop("type")](**fields)
        return Text(str(line))


@attrs.define(eq=False)
class Place(SharedPlace):
    """The place ``fake`` with an agent that puts out events (type ``fake``) or lines (type ``plain``)."""

    script: Callable[[Task], Script] = lambda task: Place.steps(
        1.0, Finished(success=True, text=f"did {task.prompt}")
    )
    types: tuple[WorkerType, ...] = (
        WorkerType("fake", "fake", "fake", timeout_seconds=3000.0),
        WorkerType("plain", "fake", "fake", progress_tracking="lines"),
        WorkerType("secretive", "fake", "fake", env={"ITS_TOKEN": "the-types-own-secret"}),
        WorkerType("standing", "fake", "fake", standing=True),
    )

    seconds_to_launch: float = 0.0

    async def _launch(self, task: Task) -> FakeRun:
        await trio.sleep(self.seconds_to_launch)
        return await SharedPlace._launch(self, task)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> EventParser | None:
        return EventParser() if worker.type.agent == "fake" else None

    @staticmethod
    def steps(*steps: Step) -> Script:
        """Put out events, wait for so many seconds, and leave in the end, unless told otherwise."""
        script: list[Say | Leave | Hang] = []
        pause = 0.0
        for step in steps:
            if isinstance(step, float):
                pause += step
                continue
            if not isinstance(step, Say | Leave | Hang):
                step = Say(msgspec.json.encode(step) + b"\n", pause)
                pause = 0.0
            script.append(step)
        if not isinstance(script[-1], Leave | Hang):
            script.append(Leave(after=pause))
        return script

    def does(self, *steps: Step) -> None:
        """From now on, do this for every task."""
        script = self.steps(*steps)
        self.script = lambda _: script


@attrs.define(eq=False)
class Desk:
    """A server with a client."""

    server: MCPServer
    service: Service
    client: Client

    async def call(self, tool: str, **arguments: object):
        """The data that a tool answers."""
        with trio.fail_after(PATIENCE):
            result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return result.structured_content

    async def refused(self, tool: str, **arguments: object) -> str:
        """What a tool says that answers with an error: one line that a terminal may show."""
        with trio.fail_after(PATIENCE):
            result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result
        (content,) = result.content
        assert content.text.isprintable(), content.text
        return re.sub(rf"^Error executing tool {tool}: ", "", content.text)

    async def spawn(self, count: int = 1, kind: str = "fake") -> list[str]:
        return (await self.call("worker_spawn", worker_type=kind, count=count))["worker_ids"]

    async def begin(self, worker_id: str, prompt: str = "go", **arguments: object) -> str:
        """Give a task and do not wait; its id."""
        given = {"worker_id": worker_id, "prompt": prompt, "wait": False, **arguments}
        return (await self.call("worker_execute", **given))["task_id"]

    async def end_of(self, task_id: str) -> WorkerResult:
        """The result of a task, as it stands in the state directory."""
        with trio.fail_after(PATIENCE):
            return await self.service.manager.wait_for_task(task_id)

    async def read(self, uri: str) -> str:
        """The text of a resource. The SDK calls a thread for it, and meanwhile the mock clock jumps."""
        (content,) = (await self.client.read_resource(uri, cache_mode="bypass")).contents
        return content.text


Opener: TypeAlias = Callable[..., AbstractAsyncContextManager[Desk]]


@asynccontextmanager
async def _open_desk(app: App, root: Path, mode: str, **options: object) -> AsyncIterator[Desk]:
    async with (
        open_server(app, Roots.of([root])) as (server, service),
        Client(server, mode=mode, **options) as client,
    ):
        yield Desk(server, service, client)


@pytest.fixture(scope="session", autouse=True)
def _signatures_are_read_once() -> Iterator[None]:
    """What the SDK makes of our tools' signatures is always the same, and takes half the time of a test."""
    read = base.func_metadata
    known: dict[object, object] = {}

    def read_once(function: Callable[..., object], **options: object) -> object:
        own = getattr(unwrap(function), "__func__", None)
        if own is None:
            return read(function, **options)
        if own not in known:
            known[own] = read(function, **options)
        return known[own]

    with pytest.MonkeyPatch.context() as patch:
        for module in (base, templates):
            patch.setattr(module, "func_metadata", read_once)
        yield


@pytest.fixture
def mode() -> str:
    """The era of the protocol; a test that has to hold in both takes it as a parameter."""
    return "2026-07-28"


@pytest.fixture
async def place(nursery: trio.Nursery) -> Place:
    return Place(nursery)


@pytest.fixture
def variables() -> Mapping[str, str]:
    """What is in the server's environment beside the home of the test."""
    return {}


@pytest.fixture
def fake_app(place: Place, tmp_path: Path, variables: Mapping[str, str]) -> App:
    made = app_of(tmp_path, fake=place)
    return attrs.evolve(made, environ={**made.environ, **variables})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory that workers may be put into."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
async def open_desk(fake_app: App, root: Path, mode: str) -> Opener:
    """Opens servers on one state directory. Keywords are the client's, and ``app``."""
    assert isinstance(trio.lowlevel.current_clock(), MockClock), "the test has to name autojump_clock"
    return partial(_open_desk, app=fake_app, root=root, mode=mode)


@pytest.fixture
def open_real(app: App, root: Path, mode: str) -> Opener:
    """Opens servers with all that is installed here, and real processes."""
    return partial(_open_desk, app=app, root=root, mode=mode)


@pytest.fixture
async def desk(open_desk: Opener) -> AsyncIterator[Desk]:
    async with open_desk() as desk:
        yield desk
