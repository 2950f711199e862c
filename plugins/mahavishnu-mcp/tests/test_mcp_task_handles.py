"""MCP Tasks, message by message: the SDK's client has neither of the two protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs
import mcp_types
import pytest
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from mahavishnu_core.app import App
from mahavishnu_core.testing.fakes import Hang
from mahavishnu_mcp.sdk import lowlevel
from mahavishnu_mcp.server import open_server
from mahavishnu_mcp.service import Roots

MODERN, LEGACY = "2026-07-28", "2025-11-25"
EXTENSION = "io.modelcontextprotocol/tasks"
BOTH = pytest.mark.parametrize("version", [LEGACY, MODERN])


@attrs.define(eq=False)
class Wire:
    """A client that writes its messages itself."""

    version: str
    knows_tasks: bool
    outgoing: MemoryObjectSendStream[SessionMessage]
    incoming: MemoryObjectReceiveStream[SessionMessage]
    number: int = 0

    async def ask(self, method: str, **params: object) -> dict:
        """The result, or the error."""
        self.number += 1
        if self.version == MODERN:
            extensions = {EXTENSION: {}} if self.knows_tasks else {}
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "0"},
                "io.modelcontextprotocol/clientCapabilities": {"extensions": extensions},
            }
        await self._send({"id": self.number, "method": method, "params": params})
        with trio.fail_after(600):
            message = (await self.incoming.receive()).message.model_dump(by_alias=True, exclude_none=True)
        return message.get("result", message.get("error"))

    async def greet(self) -> dict:
        """What the server says it can."""
        if self.version == MODERN:
            return (await self.ask("server/discover"))["capabilities"]
        client = {"name": "wire", "version": "0"}
        said = await self.ask("initialize", protocolVersion=LEGACY, capabilities={}, clientInfo=client)
        await self._send({"method": "notifications/initialized"})
        return said["capabilities"]

    async def spawn(self) -> str:
        given = {"worker_type": "fake"}
        said = await self.ask("tools/call", name="worker_spawn", arguments=given)
        return said["structuredContent"]["worker_ids"][0]

    async def execute(self, worker_id: str, **arguments: object) -> dict:
        task = {"task": {}} if self.version == LEGACY and self.knows_tasks else {}
        given = {"worker_id": worker_id, "prompt": "go", **arguments}
        return await self.ask("tools/call", name="worker_execute", arguments=given, **task)

    async def handle(self) -> dict:
        """Of a task that a new worker was given."""
        said = await self.execute(await self.spawn())
        return said["task"] if self.version == LEGACY else said

    async def _send(self, message: dict) -> None:
        parsed = mcp_types.jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **message})
        await self.outgoing.send(SessionMessage(parsed))


@asynccontextmanager
async def wired(app: App, root, version: str, *, knows_tasks: bool = True) -> AsyncIterator[Wire]:
    to_server, for_server = anyio.create_memory_object_stream[SessionMessage](9)
    from_server, for_client = anyio.create_memory_object_stream[SessionMessage](999)
    async with (
        open_server(app, Roots.of([root])) as (server, _),
        to_server,
        for_server,
        from_server,
        for_client,
        trio.open_nursery() as nursery,
    ):
        own = lowlevel(server)
        nursery.start_soon(own.run, for_server, from_server, own.create_initialization_options())
        wire = Wire(version, knows_tasks, to_server, for_client)
        await wire.greet()
        yield wire
        nursery.cancel_scope.cancel()


async def test_each_protocol_is_told_in_its_own_way(autojump_clock, fake_app, root):
    async with wired(fake_app, root, LEGACY) as wire:
        assert (await wire.greet()).get("tasks") == {"cancel": {}, "requests": {"tools": {"call": {}}}}
        tools = (await wire.ask("tools/list"))["tools"]
        support = {tool["name"]: tool["execution"] for tool in tools if "execution" in tool}
        assert support == {"worker_execute": {"taskSupport": "optional"}}
    async with wired(fake_app, root, MODERN) as wire:
        assert (await wire.greet())["extensions"] == {EXTENSION: {}}


@BOTH
async def test_a_handle_comes_at_once_and_the_result_is_fetched(
    autojump_clock, fake_app, root, place, version
):
    async with wired(fake_app, root, version) as wire:
        began = trio.current_time()
        handle = await wire.handle()
        assert trio.current_time() - began < 1
        assert handle["status"] == "working"
        assert handle.get("resultType") == (None if version == LEGACY else "task")
        task_id = handle["taskId"]
        assert (await wire.ask("tasks/get", taskId=task_id))["status"] == "working"
        if version == LEGACY:
            result = await wire.ask("tasks/result", taskId=task_id)  # waits for it
            assert result["_meta"] == {"io.modelcontextprotocol/related-task": {"taskId": task_id}}
        await trio.sleep(2)  # by the mock clock: it takes one second
        now = await wire.ask("tasks/get", taskId=task_id)
        result = result if version == LEGACY else now["result"]
        assert now["status"] == "completed"
        assert (result["structuredContent"]["output"], result["isError"]) == ("did go", False)


@BOTH
async def test_cancelling_ends_the_task(autojump_clock, fake_app, root, place, version):
    place.does(Hang())
    async with wired(fake_app, root, version) as wire:
        task_id = (await wire.handle())["taskId"]
        said = await wire.ask("tasks/cancel", taskId=task_id)
        assert said.get("status") == ("cancelled" if version == LEGACY else None)
        assert (await wire.ask("tasks/get", taskId=task_id))["status"] == "cancelled"
        again = await wire.ask("tasks/cancel", taskId=task_id)
        assert again.get("code") == (-32602 if version == LEGACY else None)


@BOTH
async def test_a_handle_outlives_the_server(autojump_clock, fake_app, root, place, version):
    place.does(Hang())
    async with wired(fake_app, root, version) as wire:
        task_id = (await wire.handle())["taskId"]
    async with wired(fake_app, root, version) as wire:
        assert (await wire.ask("tasks/get", taskId=task_id))["taskId"] == task_id


@BOTH
async def test_who_does_not_know_tasks_gets_the_answer(autojump_clock, fake_app, root, version):
    async with wired(fake_app, root, version, knows_tasks=False) as wire:
        said = await wire.execute(await wire.spawn())
        assert said["structuredContent"]["output"] == "did go"
        if version == MODERN:
            assert (await wire.ask("tasks/get", taskId="nobody.1"))["code"] == -32021


async def test_wait_false_is_an_answer_and_no_handle(autojump_clock, fake_app, root):
    async with wired(fake_app, root, MODERN) as wire:
        said = await wire.execute(await wire.spawn(), wait=False)
        assert said["structuredContent"]["is_final"] is False


@BOTH
async def test_an_argument_that_there_is_not_begins_no_task(autojump_clock, fake_app, root, place, version):
    async with wired(fake_app, root, version) as wire:
        said = await wire.execute(await wire.spawn(), wai=False)
        text = said["message"] if version == LEGACY else said["content"][0]["text"]
        assert text.endswith("wai: is not an argument (did you mean 'wait'?)")
    assert place.runs == []


@BOTH
async def test_unknown_tasks_and_workers_are_errors(autojump_clock, fake_app, root, version):
    async with wired(fake_app, root, version) as wire:
        for method in ("tasks/get", "tasks/cancel"):
            assert (await wire.ask(method, taskId="nobody.1"))["code"] == -32602
        said = await wire.execute("nobody")
        if version == LEGACY:
            assert (said["code"], "there is no worker 'nobody'" in said["message"]) == (-32602, True)
        else:
            assert said["isError"]


async def test_other_tools_are_no_tasks(autojump_clock, fake_app, root):
    async with wired(fake_app, root, LEGACY) as wire:
        said = await wire.ask("tools/call", name="worker_list", arguments={}, task={})
        assert said["code"] == -32601
