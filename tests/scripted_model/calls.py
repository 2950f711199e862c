"""Tool calls in the words of the program that asks: each names its tools in its own way."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tests.scripted_model.conversation import Conversation, ToolCall

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


def write(c: Conversation, name: str, content: str) -> ToolCall:
    path = f"{c.directory}/{name}"
    if _is_codex(c):  # has no tool for it but its shell
        return shell(c, f"printf %s {shlex.quote(content)} > {shlex.quote(path)}")
    if _is_opencode(c):
        return ToolCall("write", {"filePath": path, "content": content})
    given: dict[str, JSON] = {"file_path": path, "content": content}
    return ToolCall("write_file" if _is_qwen(c) else "Write", given)


def read(c: Conversation, name: str) -> ToolCall:
    path = f"{c.directory}/{name}"
    if _is_codex(c):
        return shell(c, f"cat {shlex.quote(path)}")
    if _is_opencode(c):
        return ToolCall("read", {"filePath": path})
    return ToolCall("read_file" if _is_qwen(c) else "Read", {"file_path": path})


def shell(c: Conversation, command: str, *, background: bool = False) -> ToolCall:
    given: dict[str, JSON] = {"command": command, "description": "scripted command"}
    if _is_codex(c):
        return ToolCall("exec_command", {"cmd": command})
    if _is_opencode(c):
        return ToolCall("bash", given)
    if _is_qwen(c):
        return ToolCall("run_shell_command", given | {"is_background": background})
    return ToolCall("Bash", given | {"run_in_background": True} if background else given)


def delegate(c: Conversation, prompt: str) -> ToolCall:
    """A subtask for a subagent."""
    given: dict[str, JSON] = {
        "description": "scripted subtask",
        "prompt": prompt,
        "subagent_type": "general" if _is_opencode(c) else "general-purpose",
    }
    if _is_opencode(c):
        return ToolCall("task", given)
    return ToolCall("agent" if _is_qwen(c) else "Agent", given)


def mcp(c: Conversation, tool: str, given: dict[str, JSON]) -> ToolCall:
    """A call of a tool of our MCP server."""
    return ToolCall(mcp_name(c, tool), given)


def mcp_name(c: Conversation, tool: str) -> str:
    """How the program names the tool; where it is not among the others, as claude and qwen do."""
    return next((name for name in c.tools if name.endswith(f"_{tool}")), f"mcp__mahavishnu__{tool}")


def must_look_for_mcp(c: Conversation) -> bool:
    """Whether the program keeps MCP tools back until the model has searched for them."""
    return "tool_search" in c.tools


def _is_codex(c: Conversation) -> bool:
    return "exec_command" in c.tools


def _is_opencode(c: Conversation) -> bool:
    return any(name in c.tools for name in ("write", "bash"))


def _is_qwen(c: Conversation) -> bool:
    """Or gemini, of which qwen is made and which has the same words."""
    return any(name in c.tools for name in ("write_file", "read_file", "run_shell_command"))
