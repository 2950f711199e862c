"""The protocol's own conformance suite, from npm: on our server, and on the suite's fixtures behind our HTTP.

The suite sends no token, so a proxy adds it. Whatever else it sends passes unchanged, and what comes back.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.tools.base import Tool
from mcp_types import (
    AudioContent,
    Completion,
    CompletionArgument,
    CompletionContext,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

from mahavishnu_mcp.http import Address, open_http
from mahavishnu_mcp.subscriptions import Subscriptions, add_subscriptions
from tests.mcp_clients import Home, require_in_path, run

pytestmark = pytest.mark.mcp_client

TOKEN = "a-token-that-this-test-has-made-up"
NOT_SERVED = {
    "logging-set-level": "what we have to say goes to standard error; the protocol itself gives logging up",
    "tools-call-with-logging": "the same",
    "tools-call-sampling": "we ask a client's model for nothing",
    "tools-call-elicitation": "we ask a client's user for nothing",
    "elicitation-sep1034-defaults": "the same",
    "elicitation-sep1330-enums": "the same",
    "server-sse-polling": "a stream that is cut is not resumed: the task goes on, for worker_monitor to tell",
}
"""Scenarios that cannot pass here, and why."""
OF_THEIR_FIXTURES = {
    **dict.fromkeys(
        [
            "tools-call-image",
            "tools-call-audio",
            "tools-call-embedded-resource",
            "tools-call-mixed-content",
            "tools-call-with-progress",
            "json-schema-2020-12",
        ],
        "wants a tool of theirs",
    ),
    **dict.fromkeys(
        ["resources-read-text", "resources-read-binary", "resources-templates-read"],
        "wants a resource of theirs",
    ),
    **dict.fromkeys(
        [
            "prompts-get-simple",
            "prompts-get-with-args",
            "prompts-get-embedded-resource",
            "prompts-get-with-image",
        ],
        "wants a prompt of theirs",
    ),
}
"""Scenarios that our server cannot pass, as they call what only the suite's own fixtures have."""


@pytest.fixture
def suite() -> str:
    return require_in_path("conformance")


async def test_our_server_conforms(suite: str, tmp_path: Path, nothing_left: None) -> None:
    home = Home(tmp_path)
    async with open_proxy() as proxy, home.serve("--allowed-host", proxy.host) as (url, token):
        proxy.forward(url, token)
        await require_conformance(suite, proxy, tmp_path, NOT_SERVED | OF_THEIR_FIXTURES)


async def test_the_fixtures_of_the_suite_conform_on_our_http(suite: str, tmp_path: Path) -> None:
    address = partial(Address, "127.0.0.1", 0)
    async with open_proxy() as proxy, open_http(fixtures(), address((proxy.host,)), TOKEN) as url:
        proxy.forward(url, TOKEN)
        await require_conformance(suite, proxy, tmp_path, NOT_SERVED)


async def require_conformance(
    suite: str, proxy: Proxy, directory: Path, expected_failures: Mapping[str, str]
) -> None:
    """That each scenario passes that is not among those, and none of those."""
    file = directory / "expected.yml"
    lines = [f"  - {scenario}  # {reason}\n" for scenario, reason in expected_failures.items()]
    file.write_text("server:\n" + "".join(lines))
    options = ["--url", f"http://{proxy.host}/mcp", "--suite", "all", "--expected-failures", str(file)]
    done = await run([suite, "server", *options], directory)
    assert done.returncode == 0, done.stdout[done.stdout.find("=== SUMMARY") :] + done.stderr


# --- the proxy


class Proxy:
    """Forwards requests to a server, each with its token, and each on a connection of its own."""

    def __init__(self, listener: trio.SocketListener) -> None:
        host, port = listener.socket.getsockname()
        self.host = f"{host}:{port}"
        self._port = 0
        self._headers = b""

    def forward(self, url: str, token: str) -> None:
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self._headers = f"authorization: Bearer {token}\r\nconnection: close\r\n".encode()

    async def serve(self, client: trio.SocketStream) -> None:
        async with client, await trio.open_tcp_stream("127.0.0.1", self._port) as server:
            head = b""
            while b"\r\n" not in head:
                if not (chunk := await client.receive_some()):
                    return
                head += chunk
            request, end, rest = head.partition(b"\r\n")
            await server.send_all(request + end + self._headers + rest)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, client, server)
                await _pass_on(server, client)
                nursery.cancel_scope.cancel()


async def _pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for chunk in source:
            await sink.send_all(chunk)
        await sink.send_eof()
    except trio.BrokenResourceError:  # one of them has left
        pass


@asynccontextmanager
async def open_proxy() -> AsyncIterator[Proxy]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = Proxy(listener)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, proxy.serve, [listener]))
        yield proxy
        nursery.cancel_scope.cancel()


# --- the fixtures that the suite asks for


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
IMAGE = ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")
AUDIO = AudioContent(type="audio", data=base64.b64encode(b"RIFF$\0\0\0WAVE").decode(), mime_type="audio/wav")
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


def fixtures() -> MCPServer:
    subscriptions = Subscriptions()
    server = MCPServer("fixtures", log_level="ERROR", subscriptions=subscriptions)
    add_subscriptions(server, subscriptions)
    _add_tools(server)
    _add_resources(server)
    _add_prompts(server)
    return server


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, text=text, mime_type=mime_type)
    return EmbeddedResource(type="resource", resource=contents)


def _add_tools(server: MCPServer) -> None:
    contents: dict[str, list[ContentBlock]] = {
        "test_simple_text": [_text("This is a simple text response for testing.")],
        "test_image_content": [IMAGE],
        "test_audio_content": [AUDIO],
        "test_embedded_resource": [_embedded("test://embedded-resource", "This is an embedded resource.")],
        "test_multiple_content_types": [
            _text("Multiple content types test:"),
            IMAGE,
            _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
        ],
        "test_reconnection": [_text("This stream was not cut.")],
    }
    for name, blocks in contents.items():
        server.add_tool(lambda blocks=blocks: blocks, name, description=name, structured_output=False)

    @server.tool(structured_output=False)
    def test_error_handling() -> str:
        """Always fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: Context) -> str:
        """Reports that it gets on."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
        return "done"

    described = Tool.from_function(lambda: "", name="json_schema_2020_12_tool", description="Has a schema.")
    described.parameters = SCHEMA
    server._tool_manager._tools[described.name] = described


def _add_resources(server: MCPServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return PNG

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def data(id: str) -> str:
        """Data of an id."""
        return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


def _add_prompts(server: MCPServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Simple."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """With two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # theirs
        """With a resource."""
        embedded = _embedded(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """With an image."""
        return [UserMessage(IMAGE), UserMessage("Please analyze the image above.")]

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        await trio.lowlevel.checkpoint()
        return Completion(values=[])
