"""The Gemini protocol: requests to conversations, replies to contents and event streams."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

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

PATH = re.compile(r"/v1(?:beta)?/models/(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent)")
"""Where models are asked: unlike the others, this protocol says model and method in the path."""

_FINISH = {"end_turn": "STOP", "tool_use": "STOP", "max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
}


def read(body: bytes, path: str) -> Conversation:
    """Raises ``ValueError`` for what is not JSON, cattrs' errors for what is not a request."""
    asked = PATH.fullmatch(path)
    if asked is None:
        raise ValueError(f"no model is asked at {path!r}")
    request = cattrs.structure(json.loads(body), _Request)
    said = [*request.systemInstruction.texts, *(t for content in request.contents for t in content.texts)]
    return Conversation(
        model=asked["model"],
        context="\n".join(said),
        turns=tuple(_turn(content) for content in request.contents),
        tools=tuple(tool.name for tools in request.tools for tool in tools.functionDeclarations),
        streaming=asked["method"] == "streamGenerateContent",
    )


def message(conversation: Conversation, reply: Reply, call_id: str) -> dict[str, JSON]:
    """The whole answer, for a client that does not stream."""
    parts = [part for part, _ in _parts(reply, call_id, whole=True)]
    return _answer(conversation, parts, call_id) | _ending(reply, parts)


def stream(conversation: Conversation, reply: Reply, call_id: str) -> Iterator[Frame]:
    """The answer as server-sent events, why it ended and usage in the last one."""
    for part, delay in _parts(reply, call_id, whole=False):
        yield attrs.evolve(_frame(_answer(conversation, [part], call_id)), delay=delay, is_delta=True)
    yield _frame(_answer(conversation, [], call_id) | _ending(reply, []))


def error(failure: Failure, call_id: str) -> dict[str, JSON]:
    """This protocol has no place for the call's id."""
    status = _STATUS.get(failure.status, "UNAVAILABLE")
    return {"error": {"code": failure.status, "message": failure.message, "status": status}}


@attrs.frozen
class _Returned:
    response: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def text(self) -> str:
        """What a tool returned, which programs put under these two names."""
        return str(self.response.get("output", self.response.get("error", "")))


@attrs.frozen
class _Part:
    text: str = ""
    functionResponse: _Returned | None = None


@attrs.frozen
class _Content:
    role: str = "user"
    parts: tuple[_Part, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.parts if part.text]


@attrs.frozen
class _Function:
    name: str


@attrs.frozen
class _Tools:
    functionDeclarations: tuple[_Function, ...] = ()


@attrs.frozen
class _Request:
    contents: tuple[_Content, ...]
    systemInstruction: _Content = _Content()
    tools: tuple[_Tools, ...] = ()


def _turn(content: _Content) -> Turn:
    results = tuple(part.functionResponse.text for part in content.parts if part.functionResponse)
    return Turn("assistant" if content.role == "model" else "user", spoken(content.texts), results)


def _parts(reply: Reply, call_id: str, *, whole: bool) -> Iterator[tuple[JSON, float]]:
    for index, block in enumerate(reply.blocks):
        match block:
            case Text(text, size, delay):
                for piece in [text] if whole else pieces(text, size):
                    yield {"text": piece}, delay
            case Thinking(text):
                yield {"text": text, "thought": True}, 0.0
            case ToolCall(name, given):
                call: JSON = {"id": f"call_{call_id}_{index}", "name": name, "args": dict(given)}
                yield {"functionCall": call}, 0.0


def _answer(conversation: Conversation, parts: list[JSON], call_id: str) -> dict[str, JSON]:
    candidate: JSON = {"index": 0, "content": {"role": "model", "parts": parts}}
    return {"candidates": [candidate], "modelVersion": conversation.model, "responseId": call_id}


def _ending(reply: Reply, parts: list[JSON]) -> dict[str, JSON]:
    finish = _FINISH[reply.stop_reason]
    candidate: JSON = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}
    return {"candidates": [candidate], "usageMetadata": _usage(reply.usage)}


def _usage(usage: Usage) -> dict[str, JSON]:
    total = usage.input + usage.output
    return {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": total,
    }


def _frame(data: Mapping[str, JSON]) -> Frame:
    return Frame(f"data: {json.dumps(data)}\r\n\r\n".encode())
