"""The Anthropic Messages protocol: requests to conversations, replies to messages and event streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs
import cattrs

from tests.scripted_model.conversation import (
    Block,
    Conversation,
    Failure,
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

_SIGNATURE = "c2NyaXB0ZWQ="


def read(body: bytes) -> Conversation:
    """Raises ``ValueError`` for what is not JSON, cattrs' errors for what is not a request."""
    request = _converter.structure(json.loads(body), _Request)
    texts = [*request.system.texts, *(text for message in request.messages for text in message.content.texts)]
    return Conversation(
        model=request.model,
        context="\n".join(texts),
        turns=tuple(_turn(message) for message in request.messages),
        tools=tuple(tool.name for tool in request.tools),
        streaming=request.stream,
    )


def message(conversation: Conversation, reply: Reply, call_id: str) -> dict[str, JSON]:
    """The whole answer, for a client that does not stream."""
    return {
        "id": f"msg_{call_id}",
        "type": "message",
        "role": "assistant",
        "model": conversation.model,
        "content": [_whole(block, call_id, index) for index, block in enumerate(reply.blocks)],
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": _usage(reply.usage),
    }


def stream(conversation: Conversation, reply: Reply, call_id: str) -> Iterator[Frame]:
    """The answer as server-sent events."""
    begun = attrs.evolve(reply, blocks=(), usage=Usage(reply.usage.input, 1))
    yield _frame("message_start", message=message(conversation, begun, call_id) | {"stop_reason": None})
    yield _frame("ping")
    for index, block in enumerate(reply.blocks):
        yield _frame("content_block_start", index=index, content_block=_empty(block, call_id, index))
        for delta in _deltas(block):
            frame = _frame("content_block_delta", index=index, delta=delta)
            yield attrs.evolve(frame, delay=block.delay if isinstance(block, Text) else 0.0, is_delta=True)
        yield _frame("content_block_stop", index=index)
    stop: JSON = {"stop_reason": reply.stop_reason, "stop_sequence": None}
    yield _frame("message_delta", delta=stop, usage=_usage(reply.usage))
    yield _frame("message_stop")


def error(failure: Failure, call_id: str) -> dict[str, JSON]:
    kind: JSON = {"type": failure.type, "message": failure.message}
    return {"type": "error", "error": kind, "request_id": f"req_{call_id}"}


@attrs.frozen
class _Block:
    type: str
    text: str = ""
    content: _Content = attrs.field(factory=lambda: _Content())


@attrs.frozen
class _Content:
    """A message's content, which is a list of blocks or a plain string."""

    blocks: tuple[_Block, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [block.text for block in self.blocks if block.type == "text"]


@attrs.frozen
class _Message:
    role: str
    content: _Content


@attrs.frozen
class _Tool:
    name: str


@attrs.frozen
class _Request:
    model: str
    messages: tuple[_Message, ...]
    system: _Content = _Content()
    tools: tuple[_Tool, ...] = ()
    stream: bool = False


def _content(value: JSON, _: object) -> _Content:
    if isinstance(value, str):
        return _Content((_Block("text", value),))
    return _Content(_converter.structure(value or (), tuple[_Block, ...]))


_converter = cattrs.Converter()
_converter.register_structure_hook(_Content, _content)


def _turn(message: _Message) -> Turn:
    results = (block.content for block in message.content.blocks if block.type == "tool_result")
    return Turn(message.role, spoken(message.content.texts), tuple("\n".join(c.texts) for c in results))


def _whole(block: Block, call_id: str, index: int) -> dict[str, JSON]:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case Thinking(text):
            return {"type": "thinking", "thinking": text, "signature": _SIGNATURE}
        case ToolCall(name, given):
            return {"type": "tool_use", "id": f"toolu_{call_id}_{index}", "name": name, "input": dict(given)}


def _empty(block: Block, call_id: str, index: int) -> dict[str, JSON]:
    match block:
        case Text():
            return _whole(Text(""), call_id, index)
        case Thinking():
            return _whole(Thinking(""), call_id, index) | {"signature": ""}
        case ToolCall(name):
            return _whole(ToolCall(name, {}), call_id, index)


def _deltas(block: Block) -> Iterator[dict[str, JSON]]:
    match block:
        case Text(text, size):
            for piece in pieces(text, size):
                yield {"type": "text_delta", "text": piece}
        case Thinking(text):
            for piece in pieces(text, 12):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": _SIGNATURE}
        case ToolCall(_, given):
            for piece in pieces(json.dumps(given), 40):
                yield {"type": "input_json_delta", "partial_json": piece}


def _usage(usage: Usage) -> dict[str, JSON]:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": usage.output,
    }


def _frame(event: str, **data: JSON | Mapping[str, JSON]) -> Frame:
    return Frame(f"event: {event}\ndata: {json.dumps({'type': event, **data})}\n\n".encode())
