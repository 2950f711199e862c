"""What a frontend starts from: settings, plugins, worker types and the state directory, put together once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.errors import UsageError
from mahavishnu_core.host import Host, load_plugins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mahavishnu_core.catalog import Catalog
    from mahavishnu_core.models import JSON, WorkerType
    from mahavishnu_core.settings import Loaded
    from mahavishnu_core.state import StateDir


@attrs.define
class App:
    """All that is known before the first worker; settings and catalog are read when first asked for."""

    host: Host
    state: StateDir
    config_dir: Path | None = None
    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ)
    overrides: Mapping[str, JSON] = attrs.field(factory=dict)
    debug: bool = False
    """Whether engines write what happens in them into the debug log."""
    _loaded: Loaded | None = None
    _catalog: Catalog | None = None
    _secrets: tuple[str, ...] | None = None

    @property
    def loaded(self) -> Loaded:
        """The settings with their warnings and origins.

        Raises SettingsError with every fault in them, UsageError where the current directory is gone.
        """
        if self._loaded is None:
            from mahavishnu_core.settings import load_settings

            self._loaded = load_settings(
                cwd=here(), config_dir=self.config_dir, environ=self.environ, overrides=self.overrides
            )
        return self._loaded

    @property
    def catalog(self) -> Catalog:
        """The worker types on offer. Raises SettingsError with every fault in the options of types."""
        if self._catalog is None:
            from mahavishnu_core.catalog import build_catalog
            from mahavishnu_core.type_options import OptionCheck

            self._catalog = build_catalog(
                self._offered(),
                self.loaded.settings,
                refused={plugin.name: plugin.reason for plugin in self.host.refused},
                options=OptionCheck(self._options_of, self.loaded),
            )
        return self._catalog

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not show: of the environment, and of worker types' own; the longest come first.

        Raises as ``catalog``.
        """
        if self._secrets is None:
            from mahavishnu_core.text import secrets_in

            environments = (os.environ, *(entry.type.env for entry in self.catalog.entries))
            found = {secret for environ in environments for secret in secrets_in(environ)}
            self._secrets = tuple(sorted(found, key=len, reverse=True))
        return self._secrets

    def read(self) -> None:
        """Have what is wrong with the settings said before anything is begun. Raises SettingsError."""
        self.catalog  # noqa: B018  # reads all of them

    def require_workers(self) -> None:
        """Raises UsageError where workers are switched off."""
        if not self.loaded.settings.workers_enabled:
            where = self.loaded.origins.get("workers_enabled", "the settings")
            is_variable = where.startswith("MAHAVISHNU_")
            advice = f"'unset {where}'" if is_variable else "'mahavishnu config set workers_enabled true'"
            raise UsageError(
                f"workers are switched off by 'workers_enabled' in {where}: switch them on with {advice}"
            )

    def _options_of(self, place: str) -> object | None:
        return self.host.ask("place_options", place=place)

    def _offered(self) -> list[tuple[str, WorkerType]]:
        answers = self.host.all("worker_types")
        return [(plugin, cast("WorkerType", kind)) for plugin, kinds in answers for kind in _listed(kinds)]


def load_app(
    *,
    config_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, JSON] | None = None,
    host: Host | None = None,
    debug: bool = False,
) -> App:
    """The app as installed: all plugins (or those of ``host``), the user's settings, the platform's state."""
    from mahavishnu_core.state import StateDir, state_dir_path

    host = load_plugins(environ) if host is None else host
    return App(host, StateDir(state_dir_path(environ)), config_dir, environ, overrides or {}, debug)


def here() -> Path:
    """The current directory. Raises UsageError where it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current directory is gone: change to one that is there") from None


def _listed(kinds: object) -> Iterable[object]:
    """What a plugin offers; a thing that is no list is an offer of itself, which the catalog names."""
    return kinds if isinstance(kinds, list) else [kinds]
