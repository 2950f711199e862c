"""The keeper's end of its connection to an engine."""

from __future__ import annotations

import json
import socket

_MOST = 1 << 24
"""Bytes of a message in part, or of messages not taken, at which an engine is given up."""


class Link:
    """The connection of one engine, with what it has sent in part and what it has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.inbox = b""
        self.outbox = b""

    def receive(self) -> list[dict[str, object]] | None:
        """The messages that have come whole; None when the engine is gone, or talks far too long."""
        try:
            chunk = self.sock.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        *lines, self.inbox = (self.inbox + chunk).split(b"\n")
        return None if len(self.inbox) > _MOST else [json.loads(line) for line in lines]

    def post(self, message: dict[str, object]) -> None:
        self.outbox += json.dumps(message).encode() + b"\n"

    def flush(self) -> bool:
        """Send what the engine takes now; False when it is gone, or takes nothing for far too long."""
        try:
            while self.outbox:
                self.outbox = self.outbox[self.sock.send(self.outbox) :]
        except BlockingIOError:
            return len(self.outbox) < _MOST
        except OSError:
            return False
        return True
