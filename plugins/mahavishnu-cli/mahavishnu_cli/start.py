"""What every command starts from: the global options, and the app, made when it is first asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from mahavishnu_cli.border import worst
from mahavishnu_cli.streams import complain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_core import WorkerManager
    from mahavishnu_core.app import App
    from mahavishnu_core.catalog import Catalog
    from mahavishnu_core.host import Host
    from mahavishnu_core.settings import Settings
    from mahavishnu_core.state import StateDir

    Body: TypeAlias = Callable[[WorkerManager, Interrupts], Awaitable[int]]

_STACK_LINES = 6
"""Of a blocked plugin's stack: three frames."""


class Start:
    """One run of the command line. Its warnings are said once, as soon as they are known."""

    def __init__(
        self, *, debug: bool = False, config_dir: str | None = None, with_plugins: bool = True
    ) -> None:
        self.debug = debug
        self.config_dir = config_dir
        self.with_plugins = with_plugins
        self._host: Host | None = None
        self._app: App | None = None
        self._told: set[str] = set()

    @property
    def config_path(self) -> Path | None:
        from pathlib import Path

        return None if self.config_dir is None else Path(self.config_dir)

    @property
    def host(self) -> Host:
        """The plugins, loaded. Whoever asks for them tells of the refused ones."""
        if self._host is None:
            from mahavishnu_core.host import load_plugins

            self._host = load_plugins(os.environ, third_party=self.with_plugins)
        return self._host

    @property
    def app(self) -> App:
        """The app with its plugins, those that were refused told; its settings are not read yet."""
        if self._app is None:
            from mahavishnu_core.app import load_app

            self._app = load_app(config_dir=self.config_path, host=self.host, debug=self.debug)
            self.tell_refused()
        return self._app

    @property
    def settings(self) -> Settings:
        """The settings, with their warnings told. Raises SettingsError."""
        loaded = self.app.loaded
        self._tell(loaded.warnings)
        return loaded.settings

    @property
    def state(self) -> StateDir:
        """The state directory, without plugins or settings."""
        if self._app is not None:
            return self._app.state
        from mahavishnu_core.state import StateDir, state_dir_path

        return StateDir(state_dir_path(os.environ))

    @property
    def catalog(self) -> Catalog:
        """The worker types, with what is wrong with them told. Raises SettingsError."""
        self._tell(self.app.loaded.warnings)
        self._tell(self.app.catalog.problems)
        return self.app.catalog

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not show; where the settings are wrong those of the environment alone."""
        from mahavishnu_core.errors import SettingsError
        from mahavishnu_core.text import secrets_in

        try:
            return self.app.secrets
        except SettingsError:
            return secrets_in(os.environ)

    def require_workers(self) -> None:
        """Raises UsageError where workers are switched off."""
        self._tell(self.app.loaded.warnings)
        self.app.require_workers()

    def worker_type(self, name: str | None) -> str:
        """The name of a type that can be used; the default one for None. Raises as ``Catalog.get``."""
        default = self.settings.worker_default_type
        return self.catalog.get(default if name is None else name).name

    def task_type(self, name: str | None) -> str:
        """The same of a type whose workers take tasks. Raises UsageError for a standing one."""
        default = self.settings.worker_default_type
        return self.catalog.get_for_tasks(default if name is None else name).name

    def tell_refused(self) -> None:
        """Name the plugins that were not loaded, were cut off since, or kept everything waiting."""
        if self._host is not None:
            self._tell(map(str, self._host.refused))
            for blocked in self._host.blocked:
                lines = blocked.stack.splitlines()[-_STACK_LINES:]
                self._tell(["\n".join([f"{blocked}; it was here:", *lines])])

    def settle(self) -> int:
        """Settle and store what ended while nobody looked; its exit status.

        Without trio or plugins where there is nothing to do.
        """
        if next(self.state.open_tasks(), None) is None:
            return 0

        async def body(manager: WorkerManager, _: Interrupts) -> int:
            await manager.recover()
            return 0

        return self.manage(body)

    def _tell(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            if warning not in self._told:
                self._told.add(warning)
                complain(f"warning: {warning}")

    def manage(
        self,
        body: Body,
        *,
        tells_backlogs: bool = True,
        is_run: bool = False,
    ) -> int:
        """Run ``body`` with an open manager; the worst exit status of it, of signals and of the storages.

        Where results were stored, storages that fail to send them on are told of, unless ``body`` does so. A
        run, which carries out tasks, is shown in a debug monitor where that is wanted.
        """
        import trio

        self._tell(self.app.loaded.warnings)
        run = _shown(body) if is_run and self.debug else body
        return trio.run(
            _manage, self.app, run, tells_backlogs, restrict_keyboard_interrupt_to_checkpoints=True
        )


def _shown(body: Body) -> Body:
    """The same, shown in a debug monitor."""

    async def shown(manager: WorkerManager, interrupts: Interrupts) -> int:
        from mahavishnu_cli.standing import debugged

        async with debugged(manager):
            return await body(manager, interrupts)

    return shown


async def _manage(app: App, body: Body, tells_backlogs: bool) -> int:
    from mahavishnu_cli.signals import heeding
    from mahavishnu_core import WorkerManager

    status, failures = 0, {}
    async with heeding() as interrupts, WorkerManager(app) as manager:
        try:
            status = await body(manager, interrupts)
            if tells_backlogs and interrupts.number is None:
                interrupts.answer = None  # nothing runs any more: a signal ends the wait
                await _tell_backlogs(manager)
        finally:
            failures = {(each.storage, each.task_id): each.error for each in manager.storage_failures}
    for (storage, task_id), error in failures.items():
        complain(f"storage {storage!r} could not keep the result of task {task_id!r}: {error}")
    return worst([status, interrupts.exit_status, 4 if failures else 0])


async def _tell_backlogs(manager: WorkerManager) -> None:
    """Name the storages that fail to send on what they have; where none took a result here, none is asked."""
    if manager.engine.stored_in.isdisjoint(manager.app.host.implementers("backlog")):
        return
    from mahavishnu_cli.words import why_waiting
    from mahavishnu_core.text import one_line

    for backlog in await manager.backlogs():
        if backlog.is_failing:
            are = "1 result is" if backlog.count == 1 else f"{backlog.count} results are"
            what = f"{are} not in {backlog.storage} yet" if backlog.count else backlog.storage
            complain(f"note: {one_line(what)}: {why_waiting(backlog)}")
