"""Tool calls in the words of the program that asks: claude and qwen name their tools differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scripted_model.conversation import Conversation, ToolCall

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


def write(c: Conversation, name: str, content: str) -> ToolCall:
    given: dict[str, JSON] = {"file_path": f"{c.directory}/{name}", "content": content}
    return ToolCall("write_file" if _is_qwen(c) else "Write", given)


def read(c: Conversation, name: str) -> ToolCall:
    return ToolCall("read_file" if _is_qwen(c) else "Read", {"file_path": f"{c.directory}/{name}"})


def shell(c: Conversation, command: str, *, background: bool = False) -> ToolCall:
    given: dict[str, JSON] = {"command": command, "description": "scripted command"}
    if _is_qwen(c):
        return ToolCall("run_shell_command", given | {"is_background": background})
    return ToolCall("Bash", given | {"run_in_background": True} if background else given)


def delegate(c: Conversation, prompt: str) -> ToolCall:
    """A subtask for a subagent."""
    given: dict[str, JSON] = {
        "description": "scripted subtask",
        "prompt": prompt,
        "subagent_type": "general-purpose",
    }
    return ToolCall("agent" if _is_qwen(c) else "Agent", given)


def _is_qwen(c: Conversation) -> bool:
    return any(name in c.tools for name in ("write_file", "read_file", "run_shell_command"))
