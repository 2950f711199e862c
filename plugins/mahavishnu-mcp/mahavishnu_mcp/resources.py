"""The resources: what tasks have put out, whole or by range, and how workers stand."""

from __future__ import annotations

import os
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import attrs
import trio
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from mahavishnu_core.errors import MahavishnuError, UnknownTask, UnknownWorker
from mahavishnu_core.output import events_so_far
from mahavishnu_core.pieces import open_file
from mahavishnu_core.tally import Tally
from mahavishnu_mcp.answers import error_text
from mahavishnu_mcp.ranges import Range, cut
from mahavishnu_mcp.shapes import UNTRUSTED, WorkerList

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.mcpserver import MCPServer

    from mahavishnu_core import Task
    from mahavishnu_mcp.service import Service

P = ParamSpec("P")
T = TypeVar("T")
_RANGE = "{?offset,length}"
_LINES = "application/x-ndjson"


def add_resources(server: MCPServer, service: Service) -> None:
    resources = Resources(service)
    offered: list[tuple[str, Callable[..., Awaitable[str | bytes]], str, str]] = [
        (f"tasks/{{task_id}}/output{_RANGE}", resources.output, "Answer of a task", "text/plain"),
        (f"tasks/{{task_id}}/transcript{_RANGE}", resources.transcript, "What a task put out", _LINES),
        (f"tasks/{{task_id}}/stderr{_RANGE}", resources.stderr, "Error output of a task", "text/plain"),
        ("workers/{worker_id}", resources.worker, "State of a worker", "application/json"),
        ("workers", resources.workers, "State of all open workers", "application/json"),
    ]
    for path, function, title, mime_type in offered:
        text = f"{function.__doc__} {UNTRUSTED}"
        how = server.resource(f"mahavishnu://{path}", title=title, description=text, mime_type=mime_type)
        how(_told(function))


@attrs.frozen
class Resources:
    _service: Service

    async def output(self, task_id: str, offset: str = "", length: str = "") -> str | bytes:
        """The whole answer of a task, or what it has said so far. offset and length are in bytes."""
        wanted = Range.parse(offset, length)
        task = self._service.state.task(task_id)
        result = self._service.state.result(task)
        if result is None and self._service.state.worker(task.worker_id).type.is_plain:
            return await self._file(task, "stdout.jsonl", wanted)
        text = await _said_so_far(self._service, task) if result is None else result.output or ""
        data = text.encode("utf-8", "replace")
        secrets = self._service.manager.app.secrets
        return cut(wanted, len(data), lambda begin, end: data[begin:end], secrets)

    async def transcript(self, task_id: str, offset: str = "", length: str = "") -> str | bytes:
        """Everything that the program of a task put out, as it came. offset and length are in bytes."""
        task = self._service.state.task(task_id)
        return await self._file(task, "stdout.jsonl", Range.parse(offset, length))

    async def stderr(self, task_id: str, offset: str = "", length: str = "") -> str | bytes:
        """The error output of the program of a task. offset and length are in bytes."""
        return await self._file(self._service.state.task(task_id), "stderr.log", Range.parse(offset, length))

    async def worker(self, worker_id: str) -> str:
        """How a worker stands, as worker_list tells it. Subscribe to be told when that changes."""
        await trio.lowlevel.checkpoint()
        return self._service.lines([worker_id])[0].model_dump_json()

    async def workers(self) -> str:
        """How all open workers stand, as worker_list tells it."""
        await trio.lowlevel.checkpoint()
        return WorkerList(workers=self._service.lines()).model_dump_json()

    async def _file(self, task: Task, name: str, wanted: Range) -> str | bytes:
        await trio.lowlevel.checkpoint()
        try:
            file = open_file(task, name)
        except FileNotFoundError:  # it has not begun
            return ""
        try:
            size = os.fstat(file).st_size
            secrets = self._service.manager.app.secrets
            return cut(wanted, size, lambda begin, end: os.pread(file, end - begin, begin), secrets)
        finally:
            os.close(file)


async def _said_so_far(service: Service, task: Task) -> str:
    tally = Tally()
    for events in events_so_far(service.manager.app, task):
        tally.add(events)
        await trio.lowlevel.checkpoint()
    return tally.text


def _told(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @wraps(function)
    async def read(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except (UnknownTask, UnknownWorker) as error:
            raise ResourceNotFoundError(error_text(error)) from error
        except MahavishnuError as error:
            raise ResourceError(error_text(error)) from error

    return read
