"""Tools of plugins: they work beside ours, and one that goes wrong harms no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
from mcp.server.mcpserver import MCPServer

from mahavishnu_core import hookimpl
from mahavishnu_core.host import host_of

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


class Weather:
    @hookimpl
    def register_tools(self, server: MCPServer) -> None:
        @server.tool(description="How the weather is.")
        async def weather(city: str) -> dict[str, str]:
            return {"city": city, "sky": "blue"}


class Raising:
    @hookimpl
    def register_tools(self, server: MCPServer) -> None:
        @server.tool()
        async def half_done() -> str:
            return "it works all the same"

        raise RuntimeError("no licence")


class Taking:
    """Wants names that are taken: of ours, and of another plugin."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def register_tools(self, server: MCPServer) -> None:
        async def mine() -> str:
            return "mine"

        server.add_tool(mine, name=self.name)


class Exiting:
    @hookimpl
    def register_tools(self, server: MCPServer) -> None:
        raise SystemExit(3)


@asynccontextmanager
async def with_plugins(open_desk, fake_app, place, **plugins: object) -> AsyncIterator:
    app = attrs.evolve(fake_app, host=host_of({"fake": place, **plugins}))
    async with open_desk(app=app) as desk:
        yield desk


@BOTH_ERAS
async def test_a_tool_of_a_plugin_is_offered_and_works(autojump_clock, open_desk, fake_app, place):
    async with with_plugins(open_desk, fake_app, place, weather=Weather()) as desk:
        tools = {tool.name: tool for tool in (await desk.client.list_tools()).tools}
        assert len(tools) == 10
        assert tools["weather"].description == "How the weather is."
        assert tools["weather"].input_schema["additionalProperties"] is False
        assert await desk.call("weather", city="Pune") == {"city": "Pune", "sky": "blue"}
        assert "city: Field required" in await desk.refused("weather")
        said = await desk.refused("weather", city="Pune", citty="Goa")
        assert said == "citty: is not an argument (did you mean 'city'?)"
        assert desk.service.manager.app.host.refused == []


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Raising(), "register_tools failed: RuntimeError: no licence"),
        (Exiting(), "register_tools failed: SystemExit: 3"),
        (Taking("worker_list"), "register_tools failed: ValueError: there is a tool 'worker_list' already"),
        (Taking("weather"), "register_tools failed: ValueError: there is a tool 'weather' already"),
    ],
)
async def test_a_plugin_that_fails_is_named_and_all_others_stay(
    autojump_clock, open_desk, fake_app, place, caplog, broken, reason
):
    plugins = (
        {"broken": broken, "weather": Weather()}
        if broken.__class__ is not Taking
        else {"weather": Weather(), "broken": broken}
    )
    async with with_plugins(open_desk, fake_app, place, **plugins) as desk:
        (refused,) = desk.service.manager.app.host.refused
        assert (refused.name, refused.hook, refused.reason) == ("broken", "register_tools", reason)
        assert str(refused) in caplog.text
        names = {tool.name for tool in (await desk.client.list_tools()).tools}
        assert {"weather", "worker_spawn", "worker_list"} <= names
        assert (await desk.call("weather", city="Pune"))["sky"] == "blue"
        assert (await desk.call("worker_list"))["workers"] == []
        (worker_id,) = await desk.spawn()
        assert (await desk.call("worker_execute", worker_id=worker_id, prompt="it"))["output"] == "did it"


class Leaving:
    """Its tool would end the server."""

    @hookimpl
    def register_tools(self, server: MCPServer) -> None:
        @server.tool()
        async def leave() -> str:
            raise SystemExit(0)


@BOTH_ERAS
async def test_a_tool_that_would_end_the_server_has_failed(autojump_clock, open_desk, fake_app, place):
    async with with_plugins(open_desk, fake_app, place, leaving=Leaving()) as desk:
        assert await desk.refused("leave") == "SystemExit"
        assert (await desk.call("worker_list"))["workers"] == []
