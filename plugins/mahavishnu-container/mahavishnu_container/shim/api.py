"""The few calls to the daemon that a shim makes, over its Unix socket."""

from __future__ import annotations

import select

from mahavishnu_container.shim import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_STOPPED = (409, 500)
"""What Docker 20.10 and Podman 4.3 answer who wants a command run in a container that does not run."""
_PID_OF_ALL = ("pid", "-o%20pid")
"""Words for ``ps``. Docker refuses the first, for which Podman 4.3 looks by itself; for others that runs the
``ps`` of the image, and counts it."""
_RESIDENTS = 2
"""The processes that keep a container up: the init, and one that sleeps."""
HURRIED = 3.0
"""Seconds in which the daemon must have answered once the end was asked for: the keeper waits for that."""


class DaemonError(Exception):
    """The daemon is not there, does not answer, or refuses; ``status`` is 0 but for a refusal."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Daemon:
    """A container as its daemon knows it."""

    def __init__(self, socket_path: str, container: str, wakeup: int) -> None:
        """``wakeup`` can be read from when the end is asked for."""
        self.socket_path = socket_path
        self.container = container
        self.patience = start.PATIENCE
        self._wakeup = wakeup

    def start_command(self, command: start.Command) -> start.Starting:
        """Have a command started that goes on by itself, and its container where need be.

        Raises DaemonError.
        """
        try:
            made = self._call("POST", f"/containers/{self.container}/exec", command.as_json())
        except DaemonError as error:
            if error.status not in _STOPPED or self.is_running():
                raise
            # it was stopped with its daemon, or with the machine
            self._call("POST", f"/containers/{self.container}/start")
            made = self._call("POST", f"/containers/{self.container}/exec", command.as_json())
        try:
            return start.order_start(self.socket_path, str(made["Id"]), self.patience)
        except OSError as error:
            raise self._silent(error) from None

    def has_answered(self, starting: start.Starting) -> bool:
        """Whether the daemon says anything of what it is to start."""
        poll = select.poll()
        poll.register(starting.connection, select.POLLIN)
        return bool(poll.poll(0))

    def require_started(self, starting: start.Starting) -> None:
        """Take in the answer about what the daemon is to start. Raises DaemonError but for a yes."""
        try:
            if not self.has_answered(starting):
                raise TimeoutError("timed out")
            _content(start.read(starting.connection))
        except (OSError, ValueError, IndexError) as error:
            raise DaemonError(f"the daemon did not say whether it has started: {error}") from None
        finally:
            starting.connection.close()

    def exit_code(self, execution: str) -> int | None:
        """How a command ended, None where that is not known. Raises DaemonError.

        Podman 4.3 says of one that goes on by itself that it runs, with the exit status 0, for ever.
        """
        told = self._call("GET", f"/exec/{execution}/json")
        code = told.get("ExitCode")
        return code if isinstance(code, int) and told.get("Running") is False else None

    def is_executing(self, execution: str) -> bool:
        """Whether a command runs, for all that the daemon knows. Raises DaemonError."""
        try:
            return self._call("GET", f"/exec/{execution}/json").get("Running") is True
        except DaemonError as error:
            if error.status == 404:  # forgotten with the container, or by a daemon that was started again
                return False
            raise

    def is_deserted(self) -> bool:
        """Whether nothing but what keeps it up runs in the container; False where that is not known.

        Raises DaemonError where the daemon is gone.
        """
        for words in _PID_OF_ALL:
            try:
                told = self._call("GET", f"/containers/{self.container}/top?ps_args={words}")
            except DaemonError as error:
                if error.status == 0:
                    raise
                continue
            found = told.get("Processes")
            return isinstance(found, list) and 0 < len(found) <= _RESIDENTS
        return False

    def output_of(self, command: start.Command) -> bytes:
        """What a command puts out until it ends, in the daemon's frames. Raises DaemonError."""
        made = self._call("POST", f"/containers/{self.container}/exec", command.as_json(attach=True))
        return self._ask("POST", f"/exec/{made['Id']}/start", '{"Detach": false}')

    def is_running(self) -> bool:
        """Whether the container is up. Raises DaemonError."""
        try:
            state = self._call("GET", f"/containers/{self.container}/json")["State"]
        except DaemonError as error:
            if error.status == 404:
                return False
            raise
        return isinstance(state, dict) and state.get("Running") is True

    def restart(self) -> None:
        """End all that runs in the container, and start it again. Raises DaemonError."""
        self._call("POST", f"/containers/{self.container}/restart?t=0")

    def remove(self) -> None:
        """Take the container away with all that runs in it. Raises DaemonError."""
        try:
            self._call("DELETE", f"/containers/{self.container}?force=1&v=1")
        except DaemonError as error:
            if error.status not in (404, 409):  # gone, or being removed by somebody else
                raise

    def hear(self, connection: _socket.socket) -> bytes:
        """What the daemon answers, up to the end of the connection. Raises OSError if it is too slow."""
        waited_for = select.poll()
        waited_for.register(connection, select.POLLIN)
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        if not poll.poll(1000 * self.patience) or not waited_for.poll(1000 * min(HURRIED, self.patience)):
            raise TimeoutError("timed out")
        return start.read(connection)

    def _call(self, method: str, path: str, body: str = "") -> dict[str, object]:
        import json

        text = self._ask(method, path, body)
        try:
            told = json.loads(text) if text.strip() else {}
        except ValueError:
            raise DaemonError(
                f"the daemon at {self.socket_path} answers with no JSON: {text[:200]!r}"
            ) from None
        return told if isinstance(told, dict) else {}

    def _ask(self, method: str, path: str, body: str) -> bytes:
        """What the daemon answers. Raises DaemonError, also where it refuses."""
        try:
            connection = start.send(self.socket_path, start.request(method, path, body), self.patience)
            try:
                answer = self.hear(connection)
            finally:
                connection.close()
            return _content(answer)
        except (OSError, ValueError, IndexError) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> DaemonError:
        return DaemonError(f"the daemon at {self.socket_path} does not answer: {error}")


def _content(answer: bytes) -> bytes:
    """Raises DaemonError for a refusal, ValueError and IndexError where it is no answer."""
    status = int(answer.split(b" ", 2)[1])
    content = answer.partition(b"\r\n\r\n")[2]
    if status >= 400:
        raise DaemonError(_message(content), status)
    return content


def _message(content: bytes) -> str:
    """The reason in a refusal: ``{"message": …}``."""
    import json

    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode("utf-8", "replace").strip()
