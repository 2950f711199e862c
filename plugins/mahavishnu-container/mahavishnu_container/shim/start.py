"""Has the daemon start a command, in the quickest way there is.

The daemon takes 50 ms for it, in which this program loads the rest of itself. Where anything is out of the
ordinary, ``api.py`` does it again and says what is wrong.
"""

from __future__ import annotations

import _socket
from _json import encode_basestring_ascii as quoted

PATIENCE = 30.0
"""Seconds in which the daemon must have answered a call."""
_AT_ONCE = 3.0
"""Seconds in which it usually has; what asks for the end is not heard meanwhile."""


class Command:
    """A command to be started in a container: whose, where, and with which whole environment."""

    def __init__(self, argv: list[str], user: str, cwd: str, env: list[str]) -> None:
        self.argv = argv
        self.user = user
        self.cwd = cwd
        self.env = env

    def as_json(self, *, attach: bool = False) -> str:
        """What the daemon is told of it; ``attach`` for one whose output is wanted."""
        return (
            f'{{"Cmd": [{", ".join(map(quoted, self.argv))}], "Env": [{", ".join(map(quoted, self.env))}], '
            f'"User": {quoted(self.user)}, "WorkingDir": {quoted(self.cwd)}, '
            f'"AttachStdout": {"true" if attach else "false"}}}'
        )


class Starting:
    """A command that the daemon has been told to start."""

    def __init__(self, execution: str, connection: _socket.socket) -> None:
        self.execution = execution
        """The daemon's id for it."""
        self.connection = connection
        """Where the answer comes; open until then, or a daemon may take the command back."""


def begin(socket_path: str, container: str, command: Command) -> Starting | None:
    """Have a command started; None where the daemon does not do that at once."""
    try:
        order = request("POST", f"/containers/{container}/exec", command.as_json())
        connection = send(socket_path, order, _AT_ONCE)
        answer = read(connection)
        connection.close()
        before, _, after = answer.partition(b'"Id":"')
        if b" 201 " not in before[:20]:
            return None
        execution = after[: after.index(b'"')].decode()
        return order_start(socket_path, execution)
    except (OSError, ValueError):
        return None


def order_start(socket_path: str, execution: str, patience: float = PATIENCE) -> Starting:
    """Tell the daemon to start what it has an id for. Raises OSError."""
    order = request("POST", f"/exec/{execution}/start", '{"Detach": true}')
    return Starting(execution, send(socket_path, order, patience))


def request(method: str, path: str, body: str) -> bytes:
    """A request, in whichever version of the API the daemon likes best.

    HTTP/1.0 is answered in one piece, up to the end of the connection (Docker 20.10, Podman 4.3).
    """
    content = body.encode()
    head = f"{method} {path} HTTP/1.0\r\nHost: daemon\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def send(socket_path: str, message: bytes, patience: float = PATIENCE) -> _socket.socket:
    """A connection with a request on it. Raises OSError."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(patience)
    connection.connect(socket_path)
    connection.sendall(message)
    return connection


def read(connection: _socket.socket) -> bytes:
    """The answer, up to the end of the connection. Raises OSError."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
