"""The OpenAI Chat Completions protocol: requests to conversations, replies to completions and chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs
import cattrs

from tests.scripted_model.conversation import (
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

_FINISH = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}


def read(body: bytes) -> Conversation:
    """Raises ``ValueError`` for what is not JSON, cattrs' errors for what is not a request."""
    request = _converter.structure(json.loads(body), _Request)
    return Conversation(
        model=request.model,
        context="\n".join(text for message in request.messages for text in message.content.texts),
        turns=tuple(_turn(message) for message in request.messages if message.role != "system"),
        tools=tuple(tool.function.name for tool in request.tools),
        streaming=request.stream,
    )


def message(conversation: Conversation, reply: Reply, call_id: str) -> dict[str, JSON]:
    """The whole answer, for a client that does not stream."""
    calls = [block for block in reply.blocks if isinstance(block, ToolCall)]
    text = "".join(block.text for block in reply.blocks if isinstance(block, Text))
    said: dict[str, JSON] = {"role": "assistant", "content": text or None}
    if calls:
        said["tool_calls"] = [
            _call(call_id, index, call.name, json.dumps(call.input)) for index, call in enumerate(calls)
        ]
    finish = _FINISH[reply.stop_reason]
    return {
        **_envelope(conversation, call_id, "chat.completion"),
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": _usage(reply.usage),
    }


def stream(conversation: Conversation, reply: Reply, call_id: str) -> Iterator[Frame]:
    """The answer as chunks, usage in the last one."""
    envelope = _envelope(conversation, call_id, "chat.completion.chunk")

    def chunk(delta: Mapping[str, JSON], finish: str | None = None) -> Frame:
        choice: JSON = {"index": 0, "delta": dict(delta), "finish_reason": finish}
        return _frame(envelope | {"choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    for delta, delay in _deltas(reply, call_id):
        yield attrs.evolve(chunk(delta), delay=delay, is_delta=True)
    yield chunk({}, _FINISH[reply.stop_reason])
    yield _frame(envelope | {"choices": [], "usage": _usage(reply.usage)})
    yield Frame(b"data: [DONE]\n\n")


def error(failure: Failure, call_id: str) -> dict[str, JSON]:
    """This protocol has no place for the call's id."""
    kind: JSON = {"message": failure.message, "type": failure.type, "code": failure.type, "param": None}
    return {"error": kind}


@attrs.frozen
class _Part:
    type: str
    text: str = ""


@attrs.frozen
class _Content:
    """A message's content: a list of parts, a plain string, or null beside tool calls."""

    parts: tuple[_Part, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.parts if part.type == "text"]


@attrs.frozen
class _Message:
    role: str
    content: _Content = _Content()


@attrs.frozen
class _Function:
    name: str


@attrs.frozen
class _Tool:
    function: _Function


@attrs.frozen
class _Request:
    model: str
    messages: tuple[_Message, ...]
    tools: tuple[_Tool, ...] = ()
    stream: bool = False


def _content(value: JSON, _: object) -> _Content:
    if isinstance(value, str):
        return _Content((_Part("text", value),))
    return _Content(_converter.structure(value or (), tuple[_Part, ...]))


_converter = cattrs.Converter()
_converter.register_structure_hook(_Content, _content)


def _turn(message: _Message) -> Turn:
    if message.role == "tool":
        return Turn("tool", results=("\n".join(message.content.texts),))
    return Turn(message.role, spoken(message.content.texts))


def _envelope(conversation: Conversation, call_id: str, kind: str) -> dict[str, JSON]:
    return {"id": f"chatcmpl-{call_id}", "object": kind, "created": 0, "model": conversation.model}


def _deltas(reply: Reply, call_id: str) -> Iterator[tuple[dict[str, JSON], float]]:
    calls = 0
    for block in reply.blocks:
        match block:
            case Text(text, size, delay):
                for piece in pieces(text, size):
                    yield {"content": piece}, delay
            case Thinking(text):
                for piece in pieces(text, 12):
                    yield {"reasoning_content": piece}, 0.0
            case ToolCall(name, given):
                yield {"tool_calls": [_call(call_id, calls, name, "")]}, 0.0
                for piece in pieces(json.dumps(given), 40):
                    yield {"tool_calls": [{"index": calls, "function": {"arguments": piece}}]}, 0.0
                calls += 1


def _call(call_id: str, index: int, name: str, arguments: str) -> JSON:
    function: JSON = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call_{call_id}_{index}", "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, JSON]:
    total = usage.input + usage.output
    return {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": total}


def _frame(data: Mapping[str, JSON]) -> Frame:
    return Frame(f"data: {json.dumps(data)}\n\n".encode())
