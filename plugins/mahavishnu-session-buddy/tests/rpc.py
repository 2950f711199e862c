"""The protocol between the wire and the memory: JSON-RPC in, JSON-RPC out."""

from __future__ import annotations

import copy
from typing import Any

from .faults import Fault, Flood, Pretence, Says
from .memory import Answer, Memory, failure, text_result

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Those of the protocol; who asks for another is offered the last."""

Message = dict[str, Any]


def place_of(message: Message) -> str:
    """Where a fault has to be to meet this: the tool that is called, else the method."""
    method = str(message.get("method"))
    return str(message["params"]["name"]) if method == "tools/call" else method


def reply(memory: Memory, message: Message, fault: Fault | None = None) -> Message | None:
    """The answer to a message; None to a notification."""
    if "id" not in message:
        return None
    match message["method"], message.get("params") or {}:
        case "initialize", params:
            result = _welcome(params)
        case "ping", _:
            result = {}
        case "tools/list", _:
            result = {"tools": list(memory.offers.values())}
        case "tools/call", params:
            result = _call(memory, params["name"], params.get("arguments") or {}, fault)
        case _:  # the real server has no better name for a method that it does not know
            wrong = {"code": -32602, "message": "Invalid request parameters", "data": ""}
            return {"jsonrpc": "2.0", "id": message["id"], "error": wrong}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def record(memory: Memory, message: Message) -> None:
    """Note a call, before anything can go wrong with it."""
    if message.get("method") == "tools/call":
        params = message["params"]
        memory.calls.append((params["name"], params.get("arguments") or {}))


def _welcome(params: Message) -> Message:
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in VERSIONS else VERSIONS[-1],
        "capabilities": {
            "experimental": {},
            "logging": {},
            "prompts": {"listChanged": True},
            "resources": {"subscribe": False, "listChanged": True},
            "tools": {"listChanged": True},
        },
        "serverInfo": {"name": "session-buddy", "version": "0.23.0"},
    }


def _call(memory: Memory, name: str, arguments: Message, fault: Fault | None) -> Answer:
    match fault:
        case Says(text, after, is_error):
            if after:
                memory.call(name, arguments)
            return failure(text) if is_error else text_result(text)
        case Pretence():
            return copy.deepcopy(memory).call(name, arguments)
        case Flood(size):
            return text_result(memory.call(name, arguments)["content"][0]["text"].ljust(size, "x"))
        case _:
            return memory.call(name, arguments)
