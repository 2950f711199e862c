"""MCP Tasks, for clients that have them: worker_execute answers with a handle, under our own task's id.

Two protocols: the extension ``io.modelcontextprotocol/tasks`` of 2026-07-28, in which the server decides and
the client polls ``tasks/get``, and the core of 2025-11-25, in which the client asks with ``task`` and fetches
``tasks/result``. The SDK has the types of the latter and runs neither (seen in mcp 2.3.0).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, CallToolResult, GetTaskRequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mahavishnu_core.errors import UnknownTask, UnknownWorker
from mahavishnu_mcp.answers import error_text, share, task_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
    from mcp_types import CallToolRequestParams

    from mahavishnu_core.models import JSON
    from mahavishnu_mcp.service import Service
    from mahavishnu_mcp.shapes import TaskReport

IDENTIFIER = "io.modelcontextprotocol/tasks"
LEGACY = "2025-11-25"
_TOOL = "worker_execute"
_RELATED = "io.modelcontextprotocol/related-task"
_POLL = 2000
"""Milliseconds that a client should leave between polls."""
_CAPABILITY: Final[JSON] = {"cancel": {}, "requests": {"tools": {"call": {}}}}

State: TypeAlias = Literal["working", "completed", "cancelled"]
Request: TypeAlias = "ServerRequestContext[Any, Any]"
Wire: TypeAlias = "dict[str, Any]"


class TaskHandles(Extension):
    """The methods of both protocols, and the handle in place of an answer for clients of the newer one."""

    identifier = IDENTIFIER

    def __init__(self, service: Service) -> None:
        self._service = service

    def methods(self) -> Sequence[MethodBinding]:
        old, new = frozenset({LEGACY}), frozenset(MODERN_PROTOCOL_VERSIONS)
        return [
            MethodBinding("tasks/get", GetTaskRequestParams, self._get, old | new),
            MethodBinding("tasks/cancel", GetTaskRequestParams, self._cancel, old | new),
            MethodBinding("tasks/update", GetTaskRequestParams, self._update, new),
            MethodBinding("tasks/result", GetTaskRequestParams, self._result, old),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Request, call_next: CallNext
    ) -> HandlerResult:
        given = params.arguments or {}
        if params.name != _TOOL or given.get("wait") is False or not _knows_handles(ctx):
            return await call_next(ctx)
        # the params that came are those that the tool is called with: it is told by them not to wait
        params.arguments = {**given, "wait": False}
        result = await call_next(ctx)
        if not isinstance(result, CallToolResult) or result.is_error:
            return result
        report = self._report(result.structured_content["task_id"])
        return {"resultType": "task", **self._fields(ctx, report)}

    async def _get(self, ctx: Request, params: GetTaskRequestParams) -> HandlerResult:
        self._require_support(ctx)
        await self._service.manager.recover()
        self._service.follower.look()
        report = self._report(params.task_id)
        told = self._fields(ctx, report)
        if _is_modern(ctx):
            told["resultType"] = "complete"
            if told["status"] == "completed":
                told["result"] = _as_tool_result(report)
        return told

    async def _cancel(self, ctx: Request, params: GetTaskRequestParams) -> HandlerResult:
        self._require_support(ctx)
        if self._report(params.task_id).is_final and not _is_modern(ctx):
            raise MCPError(INVALID_PARAMS, f"task {params.task_id!r} has ended already")
        await self._service.manager.cancel_task(params.task_id)
        if _is_modern(ctx):
            return {"resultType": "complete"}
        return self._fields(ctx, self._report(params.task_id))

    async def _update(self, ctx: Request, params: GetTaskRequestParams) -> HandlerResult:
        """No task of ours asks its client for anything: what it answers is to no question."""
        self._require_support(ctx)
        self._report(params.task_id)
        return {"resultType": "complete"}

    async def _result(self, ctx: Request, params: GetTaskRequestParams) -> HandlerResult:
        self._report(params.task_id)
        await self._service.follower.wait(params.task_id)
        told = _as_tool_result(self._report(params.task_id))
        return {**told, "_meta": {_RELATED: {"taskId": params.task_id}}}

    def _report(self, task_id: str) -> TaskReport:
        try:
            return self._service.task_report(task_id, share(1))
        except (UnknownTask, UnknownWorker) as error:
            raise MCPError(INVALID_PARAMS, error_text(error)) from error

    def _fields(self, ctx: Request, report: TaskReport) -> Wire:
        ttl, poll = ("ttlMs", "pollIntervalMs") if _is_modern(ctx) else ("ttl", "pollInterval")
        task = self._service.state.task(report.task_id)
        told: Wire = {
            "taskId": report.task_id,
            "status": _state(report),
            "createdAt": task.created,
            "lastUpdatedAt": report.timestamp or self._service.state.launched_at(task) or task.created,
            ttl: None,
            poll: _POLL,
        }
        message = report.activity or report.error or ""
        return told | ({"statusMessage": message[:200]} if message else {})

    @staticmethod
    def _require_support(ctx: Request) -> None:
        from mcp.server.mcpserver.server import require_client_extension

        if _is_modern(ctx):
            require_client_extension(ctx, IDENTIFIER)

    def middleware(self) -> ServerMiddleware[Any]:
        """What the older protocol needs beside methods: its capability, the mark on the tool, the handle."""

        async def serve(ctx: Request, call_next: CallNext) -> HandlerResult:
            if ctx.method == "tools/call" and ctx.protocol_version == LEGACY and "task" in (ctx.params or {}):
                return await self._call_as_task(ctx, call_next)
            result = await call_next(ctx)
            if ctx.method == "initialize" and cast("Wire", result).get("protocolVersion") == LEGACY:
                cast("Wire", result)["capabilities"]["tasks"] = _CAPABILITY
            elif ctx.method == "tools/list" and ctx.protocol_version == LEGACY:
                for tool in cast("Wire", result)["tools"]:
                    if tool["name"] == _TOOL:
                        tool["execution"] = {"taskSupport": "optional"}
            return result

        return serve

    async def _call_as_task(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        params = {**(ctx.params or {})}
        del params["task"]
        if params.get("name") != _TOOL:
            raise MCPError(METHOD_NOT_FOUND, f"only {_TOOL} can be called as a task")
        params["arguments"] = {**(params.get("arguments") or {}), "wait": False}
        result = cast("Wire", await call_next(replace(ctx, params=params)))
        if result.get("isError"):
            raise MCPError(INVALID_PARAMS, "; ".join(each.get("text", "") for each in result["content"]))
        return {"task": self._fields(ctx, self._report(result["structuredContent"]["task_id"]))}


def _is_modern(ctx: Request) -> bool:
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def _knows_handles(ctx: Request) -> bool:
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities else None
    return _is_modern(ctx) and IDENTIFIER in (extensions or {})


def _state(report: TaskReport) -> State:
    """A task whose worker failed has completed: with an answer that says so."""
    if not report.is_final:
        return "working"
    return "cancelled" if report.status == "cancelled" else "completed"


def _as_tool_result(report: TaskReport) -> Wire:
    return task_answer(report).model_dump(by_alias=True, mode="json", exclude_none=True)
