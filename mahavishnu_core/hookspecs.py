"""The hooks: every point at which a plugin takes part, with when it is called and what it may answer.

Rules for all of them. An implementation is a plain ``def`` that does no I/O and may take any subset of the
arguments, by name. Hooks marked *async* return an awaitable that does the work, or None to decline. A hook
marked *first result* is asked plugin by plugin until one answers something other than None: answer only for
your own agent or place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

from mahavishnu_core.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import click

    from mahavishnu_core.app import App
    from mahavishnu_core.events import Event, TaskEvent
    from mahavishnu_core.health import Check
    from mahavishnu_core.models import (
        JSON,
        Backlog,
        Cause,
        Command,
        Exit,
        Leftover,
        LogBatch,
        Synced,
        Task,
        Worker,
        WorkerResult,
        WorkerType,
    )
    from mahavishnu_core.settings import Options, Settings
    from mahavishnu_core.testing import Sample

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., object]")
RunState: TypeAlias = Literal["queued", "running", "ended"]


class Engine(Protocol):
    """What an async hook gets to work with: where the state lies, and a home for what must stay open."""

    @property
    def app(self) -> App:
        """Plugins, settings, worker types and state, and the secrets that must not show in texts."""
        ...

    @property
    def state_dir(self) -> Path:
        """The state directory; a plugin may keep files of its own in it."""
        ...

    async def hold(self, key: str, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Open a resource once for the engine's lifetime (a connection, a client) and share it by ``key``."""
        ...

    async def store_log(self, worker: Worker, batch: LogBatch) -> Mapping[str, str | None]:
        """Have all storages keep some lines of a worker's log; each by name, with the reason if it could not.

        Give them the same batch again then: each keeps it once.
        """
        ...

    def notify(self, text: str) -> None:
        """Tell whoever waits what takes so long: one line, each replaces the last.

        Call it in the loop; from a thread by ``trio.from_thread.run_sync``.
        """
        ...


class Parser(Protocol):
    """Reads the output of one task. Never raises, whatever the lines hold."""

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterable[Event]:
        """Events of the next lines: a dict where the line is a JSON object, else its text.

        With ``progress_tracking: lines`` all lines are texts. When it raises, it is given the same lines once
        more, one by one, so that only the one at fault is lost.
        """
        ...

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """What is left to say once the command has ended; ``stderr`` is the tail of its error output."""
        ...


class Run(Protocol):
    """A command that a place has taken over."""

    async def state(self) -> RunState:
        """How it stands, as soon as the place knows."""
        ...

    async def started(self) -> None:
        """Return when the command runs, or has ended, or has been refused."""
        ...

    async def wait(self) -> Exit:
        """Return when the command and its whole family have ended. May be called by several tasks."""
        ...

    async def end(self, cause: Cause, grace_seconds: float) -> None:
        """Ask for the end of the family: TERM, the grace, KILL. Returns at once; ``wait`` tells the rest."""
        ...


class CommandLine(Protocol):
    """What a command that a plugin adds finds as click's ``obj``: the global options, put to use."""

    @property
    def app(self) -> App:
        """Plugins, settings, worker types and state, as ``--config`` and ``--no-plugins`` have them."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings, their warnings told to the user. Raises SettingsError."""
        ...


class ToolServer(Protocol):
    """What of the MCP SDK's server a plugin may use; it is more, and that may change."""

    def tool(
        self, name: str | None = None, title: str | None = None, description: str | None = None
    ) -> Callable[[F], F]:
        """A decorator: makes a function a tool, with its name, docstring and types for the model to read."""
        ...


@hookspec
def worker_types() -> Iterable[WorkerType]:  # type: ignore[empty-body]
    """Offer worker types. Called once, when the engine or the command line needs the list.

    Settings may change any field of a type by its name, and add further types for an agent.
    """


@hookspec(firstresult=True)
def place_options(place: str) -> type[Options] | None:
    """The attrs class that the ``options`` of worker types of your place are read into (*first result*).

    Asked when the list of worker types is put together; what is wrong with options is said then.
    """


@hookspec(firstresult=True)
def spawn(engine: Engine, worker: Worker) -> Awaitable[Mapping[str, JSON]] | None:
    """Make a worker of your place ready; the facts you return are kept with it (*async, first result*).

    Called before the worker is written down. Raise ``MahavishnuError`` when it cannot be.
    """


@hookspec(firstresult=True)
def execute(worker: Worker, task: Task) -> Command | None:
    """The command that carries out a task of your agent (*first result*).

    The prompt belongs in ``Command.stdin``. ``task.session_id`` and ``task.resume`` say which conversation
    to begin or to go on with.
    """


@hookspec(firstresult=True)
def parse_progress(worker: Worker, task: Task) -> Parser | None:
    """A parser for the output of a task of your agent (*first result*). Called once a task and reader.

    The parser must give the same events for the same bytes: tasks are read again after a crash.
    """


@hookspec
def store_result(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> Awaitable[None] | None:
    """Keep a result (*async, all storages*). Raise when you cannot: you are asked again later.

    May be called twice for one ``task.task_id``; keep one.
    """


@hookspec
def backlog(engine: Engine) -> Awaitable[Sequence[Backlog]] | None:
    """What you have taken by ``store_result`` and not yet brought where you keep it (*async, all*).

    For a storage that sends results elsewhere later on. Called after a run, and by ``workers health``: look,
    and do not send.
    """


@hookspec
def sync_results(
    engine: Engine, verify: bool, told: Callable[[int, int], None]
) -> Awaitable[Sequence[Synced]] | None:
    """Send what waits in you, now, and say what came of it (*async, all*).

    ``told(done, total)`` is to be called, in the loop, as the sending goes on. With ``verify`` also find what
    the other side has lost since it had it, and send that again.
    """


@hookspec
def store_log(engine: Engine, worker: Worker, batch: LogBatch) -> Awaitable[None] | None:
    """Keep some lines of what a worker logs (*async, all storages*). Raise when you cannot.

    May be called twice for one ``batch.first`` of a worker; keep one.
    """


@hookspec
def search_results(engine: Engine, text: str, limit: int) -> Awaitable[Sequence[WorkerResult]] | None:
    """Stored results that match a text, best first (*async, all storages that can*)."""


@hookspec
def monitor(event: TaskEvent) -> None:
    """Be told every event of every task that this engine follows, in order.

    Called in a thread of its own, one for each plugin, so it may block a little and must not use Trio. One
    that raises, does not come back for two seconds, or falls 10 000 events behind is reported once and not
    called again. When the engine ends it has a second to take what still waits for it.
    """


@hookspec(firstresult=True)
def launch(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, detached: bool
) -> Awaitable[Run] | None:
    """Run a command of a worker of your place so that it outlives us (*async, first result*).

    Its output goes to ``stdout.jsonl`` and ``stderr.log`` in ``task.directory``, and when it has ended
    ``exit.json`` appears there. ``limit`` is how many commands may run at once on the state directory; wait
    for a slot. A detached command is started even when the engine ends before there is a slot.
    ``command`` is None to find a command again that was launched by an earlier engine.
    """


@hookspec(firstresult=True)
def close(engine: Engine, worker: Worker) -> Awaitable[None] | None:
    """Give back what ``spawn`` took (*async, first result*)."""


@hookspec
def sweep(engine: Engine, remove: bool) -> Awaitable[Sequence[Leftover]] | None:
    """What of your place is left over from workers that are gone (*async, all*).

    Named, and with ``remove`` taken away. Leave alone what belongs to other state directories.
    """


@hookspec
def diagnose(engine: Engine, kinds: Sequence[WorkerType]) -> Awaitable[Sequence[Check]] | None:
    """What ``doctor`` shows of you: whether what you need is there, and what to do (*async, all*).

    ``kinds`` are the worker types that can be used. A check with the subject ``type NAME`` of one that is
    not in the place ``local`` stands in place of what ``doctor`` would say of it.
    """


@hookspec
def samples() -> Iterable[Sample]:  # type: ignore[empty-body]
    """Recorded runs of the programs of your worker types, with the verdicts that are due.

    Called by ``mahavishnu plugins check`` and by nothing else; it may read files of your distribution.
    """


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the ``mahavishnu`` command line. Import what they need only when they run."""


@hookspec
def register_tools(server: ToolServer) -> None:
    """Add tools to the MCP server. Called once, when it starts; a name that is taken raises."""
