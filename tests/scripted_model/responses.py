"""The OpenAI Responses protocol: requests to conversations, replies to responses and event streams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs
import cattrs

from tests.scripted_model import openai
from tests.scripted_model.conversation import (
    Block,
    Conversation,
    Frame,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Turn,
    Usage,
    pieces,
    spoken,
)

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

error = openai.error
_INCOMPLETE = {"refusal": "content_filter", "max_tokens": "max_output_tokens"}


def read(body: bytes) -> Conversation:
    """Raises ``ValueError`` for what is not JSON, cattrs' errors for what is not a request."""
    request = _converter.structure(json.loads(body), _Request)
    said = (text for item in request.input.items for text in item.content.texts)
    return Conversation(
        model=request.model,
        context="\n".join([request.instructions or "", *said]),
        turns=tuple(_turns(request.input.items)),
        tools=tuple(name for tool in request.tools for name in tool.names),
        streaming=request.stream,
    )


def message(conversation: Conversation, reply: Reply, call_id: str) -> dict[str, JSON]:
    """The whole answer, for a client that does not stream."""
    return {
        "id": f"resp_{call_id}",
        "object": "response",
        "created_at": 0,
        "model": conversation.model,
        "status": "incomplete" if reply.stop else "completed",
        "incomplete_details": {"reason": _INCOMPLETE[reply.stop]} if reply.stop else None,
        "output": [_item(block, call_id, index) for index, block in enumerate(reply.blocks)],
        "usage": _usage(reply.usage),
    }


def stream(conversation: Conversation, reply: Reply, call_id: str) -> Iterator[Frame]:
    """The answer as server-sent events."""
    begun = attrs.evolve(reply, blocks=())
    yield _frame(
        "response.created", response=message(conversation, begun, call_id) | {"status": "in_progress"}
    )
    for index, block in enumerate(reply.blocks):
        item = _item(block, call_id, index)
        yield _frame("response.output_item.added", output_index=index, item=_empty(block, call_id, index))
        for kind, delta in _deltas(block):
            frame = _frame(kind, item_id=item["id"], output_index=index, content_index=0, delta=delta)
            yield attrs.evolve(frame, delay=block.delay if isinstance(block, Text) else 0.0, is_delta=True)
        yield _frame("response.output_item.done", output_index=index, item=item)
    whole = message(conversation, reply, call_id)
    yield _frame(f"response.{whole['status']}", response=whole)


@attrs.frozen
class _Part:
    type: str
    text: str = ""


@attrs.frozen
class _Content:
    """What was said: a list of parts, a plain string, or null."""

    parts: tuple[_Part, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.parts if part.text]


@attrs.frozen
class _Item:
    type: str = "message"
    role: str = ""
    content: _Content = _Content()
    output: _Content = _Content()


@attrs.frozen
class _Input:
    """A list of items, or a plain string: what a person says."""

    items: tuple[_Item, ...] = ()


@attrs.frozen
class _Tool:
    name: str = ""
    """Empty for the vendor's own, such as its search."""
    tools: tuple[_Tool, ...] = ()
    """Of a namespace, which is how codex gives the tools of an MCP server."""

    @property
    def names(self) -> list[str]:
        return [f"{self.name}__{tool.name}" for tool in self.tools] or [self.name]


@attrs.frozen
class _Request:
    model: str
    input: _Input
    instructions: str | None = None
    tools: tuple[_Tool, ...] = ()
    stream: bool = False


def _content(value: JSON, _: object) -> _Content:
    if isinstance(value, str):
        return _Content((_Part("text", value),))
    return _Content(_converter.structure(value or (), tuple[_Part, ...]))


def _input(value: JSON, _: object) -> _Input:
    if isinstance(value, str):
        return _Input((_Item(role="user", content=_content(value, None)),))
    return _Input(_converter.structure(value, tuple[_Item, ...]))


_converter = cattrs.Converter()
_converter.register_structure_hook(_Content, _content)
_converter.register_structure_hook(_Input, _input)


def _turns(items: Iterable[_Item]) -> Iterator[Turn]:
    """The turns: one answer of the model is several items, one after another."""
    answering = False
    for item in items:
        is_answer = item.role == "assistant" or item.type in _ANSWERED
        if is_answer and not answering:
            yield Turn("assistant", "\n".join(item.content.texts))
        elif item.type in _RETURNED:
            yield Turn("tool", results=("\n".join(item.output.texts),))
        elif item.role == "user":
            yield Turn("user", spoken(item.content.texts))
        answering = is_answer


_ANSWERED = ("reasoning", "function_call", "custom_tool_call", "local_shell_call")
_RETURNED = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")


def _item(block: Block, call_id: str, index: int) -> dict[str, JSON]:
    match block:
        case Text(text):
            part: JSON = {"type": "output_text", "text": text, "annotations": []}
            head = {"id": f"msg_{call_id}_{index}", "type": "message", "role": "assistant"}
            return {**head, "status": "completed", "content": [part]}
        case Thinking(text):
            summary: JSON = [{"type": "summary_text", "text": text}]
            return {"id": f"rs_{call_id}_{index}", "type": "reasoning", "summary": summary}
        case ToolCall(name, given):
            namespace, _, own_name = name.rpartition("__")
            head = {"id": f"fc_{call_id}_{index}", "type": "function_call", "status": "completed"}
            return {
                **head,
                "call_id": f"call_{call_id}_{index}",
                **({"namespace": namespace} if namespace else {}),
                "name": own_name,
                "arguments": json.dumps(given),
            }


def _empty(block: Block, call_id: str, index: int) -> dict[str, JSON]:
    bare: Mapping[str, JSON] = {
        "message": {"content": [], "status": "in_progress"},
        "reasoning": {"summary": []},
        "function_call": {"arguments": "", "status": "in_progress"},
    }
    item = _item(block, call_id, index)
    return item | bare[item["type"]]


def _deltas(block: Block) -> Iterator[tuple[str, str]]:
    match block:
        case Text(text, size):
            for piece in pieces(text, size):
                yield "response.output_text.delta", piece
        case Thinking(text):
            for piece in pieces(text, 12):
                yield "response.reasoning_summary_text.delta", piece
        case ToolCall(_, given):
            for piece in pieces(json.dumps(given), 40):
                yield "response.function_call_arguments.delta", piece


def _usage(usage: Usage) -> dict[str, JSON]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input + usage.output,
    }


def _frame(event: str, **data: JSON | Mapping[str, JSON]) -> Frame:
    return Frame(f"event: {event}\ndata: {json.dumps({'type': event, **data})}\n\n".encode())
