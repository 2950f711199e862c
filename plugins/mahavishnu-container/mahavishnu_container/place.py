"""The place ``container``: a container for each worker, in which its tasks run one after the other."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_container.danger import dangers_of_path, sockets
from mahavishnu_container.images import require_image
from mahavishnu_container.leftovers import labels_of, remove_labelled, sweep_once
from mahavishnu_container.options import HOME, ContainerOptions
from mahavishnu_container.recipe import recipe, user_of
from mahavishnu_container.runtime import open_runtime
from mahavishnu_container.shim.main import PREFIX
from mahavishnu_container.shim.tree import remove_tree
from mahavishnu_core.errors import MahavishnuError, UsageError
from mahavishnu_core.places import Shim, environment_elsewhere, find_shim, launch_shim, require_workspace
from mahavishnu_core.settings import read_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from mahavishnu_container.recipe import Recipe
    from mahavishnu_container.runtime import Runtime
    from mahavishnu_core import Command, Engine, Run, Task, Worker
    from mahavishnu_core.models import JSON

_PACKAGE_HOME = str(Path(__file__).parent.parent)
_START = (
    f"import sys; sys.path.append({_PACKAGE_HOME!r}); from mahavishnu_container.shim.main import main; main()"
)
_CLEANING = 20.0
"""Seconds for taking back what was being made when something went wrong."""


@attrs.frozen
class Facts:
    """What is kept with a worker, so that any engine finds its container again."""

    container_id: str
    container_name: str
    runtime: Literal["docker", "podman"]
    socket: str
    user: str
    owns_files: bool
    """Whether what the container's user writes is ours."""

    @classmethod
    def of(cls, worker: Worker) -> Facts:
        return cls(**worker.facts)  # type: ignore[arg-type]  # the fields that ``spawn`` returned


async def spawn(engine: Engine, worker: Worker) -> Mapping[str, JSON]:
    """Make and start a worker's container.

    Raises UsageError for what is not safe, MissingError where the daemon or the image is not to be had.
    """
    await require_workspace(worker)
    options = read_options(worker.type, ContainerOptions)
    require_safe(worker, options, engine.state_dir)
    runtime = await open_runtime(engine, options.runtime)
    await sweep_once(engine, runtime)
    user = user_of(options, runtime.kind)
    if options.privileged and user.uid == 0:
        raise UsageError("a privileged container needs a user other than root: set 'user' in its options")
    await require_image(engine, runtime, options)
    boxes = _boxes(engine, worker)
    boxes.mkdir(mode=0o700)
    if not user.is_us:
        boxes.chmod(0o711)  # its parents are closed to all others
    made = recipe(worker, options, user, boxes, labels_of(worker, engine.state_dir))
    try:
        container_id = await runtime.finish(_create, runtime, made)
        await trio.lowlevel.checkpoint_if_cancelled()
    except BaseException:
        with trio.move_on_after(_CLEANING, shield=True), suppress(MahavishnuError):  # the first error is told
            await remove_labelled(runtime, made["labels"])
        raise
    facts = Facts(container_id, made["name"], runtime.name, runtime.socket, str(user), user.is_us)
    return attrs.asdict(facts)


async def launch(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, *, detached: bool
) -> Run:
    """Have a command run in its worker's container, or find it again."""
    if command is None:
        return await find_shim(engine, task)
    facts = Facts.of(worker)
    given = {"HOME": HOME, **await environment_elsewhere(engine, command)}
    _require_utf8(command, given)
    ownership = "own" if facts.owns_files else "shared"
    words = (facts.socket, facts.container_id, facts.user, str(_boxes(engine, worker)), str(task.directory))
    shim = Shim(
        argv=(sys.executable, "-I", "-S", "-c", _START, *words, ownership, "--", *command.argv),
        env={f"{PREFIX}{name}": value for name, value in given.items()},
        stands_for=f"container {facts.container_name}",
    )
    (task.directory / "progress.jsonl").touch(mode=0o600, exist_ok=False)
    return await launch_shim(engine, worker, task, shim, command.stdin, limit, detached=detached)


async def close(engine: Engine, worker: Worker) -> None:
    """Take a worker's container away, whatever runs in it. Raises MissingError where the daemon is gone."""
    facts = Facts.of(worker)
    runtime = await open_runtime(engine, facts.runtime, facts.socket)
    await runtime.remove(facts.container_id)
    await trio.to_thread.run_sync(remove_tree, str(_boxes(engine, worker)), abandon_on_cancel=True)


def require_safe(worker: Worker, options: ContainerOptions, state_dir: Path) -> None:
    """Raises UsageError where the container would see what lets it out, and its type does not allow that."""
    daemons = sockets()
    for path in (str(worker.workspace), *(mount.source for mount in options.mounts)):
        for danger in dangers_of_path(path, state_dir, daemons):
            if danger not in options.allow_unsafe:
                raise UsageError(
                    f"a container that sees {path!r} is not safe: name another directory, or '{danger}' in "
                    f"allow_unsafe of worker type {worker.type.name!r}"
                )


def _require_utf8(command: Command, environ: Mapping[str, str]) -> None:
    """Raises UsageError for what a daemon, which is told by JSON, would change."""
    texts = {f"word {index} of the command": word for index, word in enumerate(command.argv, 1)}
    texts |= {f"the variable {name!r}": value for name, value in environ.items()}
    for what, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{what} is not UTF-8, and a container cannot be given anything else: put it into a file, or "
                "give it to an agent that reads its prompt from standard input"
            ) from None


def _boxes(engine: Engine, worker: Worker) -> Path:
    return engine.state_dir / "workers" / worker.worker_id / "boxes"


def _create(runtime: Runtime, made: Recipe) -> str:
    container = runtime.client.containers.create(**made)
    container.start()
    return str(container.id)
