"""Scripts that use our MCP server. A prompt of the form ``type: task`` says which worker is to do what."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.scripted_model.calls import mcp, mcp_name, must_look_for_mcp
from tests.scripted_model.conversation import Conversation, Reply, Text, ToolCall, say
from tests.scripted_model.registry import script

_MISSING = re.compile(r"unsupported call|No such tool")
"""What codex and claude say of a tool whose server they have not connected to yet."""
_MOST_TRIES = 200
_WORKER = re.compile(r"worker_ids\W+([a-z][0-9a-z]{7})\b")


@script
def have_worked(c: Conversation) -> Reply:
    """Spawns a worker, gives it the task, collects its results, and quotes them."""
    return _in_steps(c, _spawn, _execute, _collect)


@script
def spawn_worker(c: Conversation) -> Reply:
    """Only spawns a worker, and quotes what came of that."""
    return _in_steps(c, _spawn)


def _in_steps(c: Conversation, *steps: Callable[[Conversation], ToolCall]) -> Reply:
    todo = [_look_for_tools, *steps] if must_look_for_mcp(c) else steps
    too_early = sum(bool(_MISSING.search(result)) for turn in c.turns for result in turn.results)
    step = c.rounds - too_early  # that tool is asked for again until the program has connected to its server
    if step < len(todo) and too_early < _MOST_TRIES:
        return Reply((Text(f"Step {step + 1}."), todo[step](c)))
    return say(f"The last tool said: {c.result}")


def _look_for_tools(c: Conversation) -> ToolCall:
    names = (mcp_name(c, name) for name in ("worker_spawn", "worker_execute", "worker_collect_results"))
    return ToolCall("tool_search", {"query": f"select:{','.join(names)}"})


def _spawn(c: Conversation) -> ToolCall:
    return mcp(c, "worker_spawn", {"worker_type": c.prompt.partition(": ")[0], "count": 1})


def _execute(c: Conversation) -> ToolCall:
    task = c.prompt.partition(": ")[2]
    return mcp(c, "worker_execute", {"worker_id": _worker(c), "prompt": task})


def _collect(c: Conversation) -> ToolCall:
    return mcp(c, "worker_collect_results", {"worker_ids": [_worker(c)]})


def _worker(c: Conversation) -> str:
    """The id that a tool named, in whatever form the program passes it on."""
    said = "\n".join(result for turn in c.turns for result in turn.results)
    named = _WORKER.search(said)
    return named[1] if named else f"none was named in {said[:200]!r}"
