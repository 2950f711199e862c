"""The worker types on offer: those of the plugins, changed and added to by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.errors import MissingError, SettingsError, UnknownWorkerType, UsageError
from mahavishnu_core.models import WorkerType
from mahavishnu_core.settings.schema import NAME, laid_over
from mahavishnu_core.settings.suggest import did_you_mean, nearest
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from mahavishnu_core.settings.schema import Settings, WorkerOverride
    from mahavishnu_core.type_options import OptionCheck

CORE_AGENT = "generic"
"""The agent that the core itself brings: any program, run as its template says."""

CORE_PLACE = "local"


@attrs.frozen
class Entry:
    """A worker type, why it cannot be used if it cannot, and who offers it: a plugin, or ``settings``."""

    type: WorkerType
    unavailable: str | None
    source: str


@attrs.frozen
class Catalog:
    """All worker types by name; ``problems`` are the faults of what plugins offered, one line each."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = ()
    _by_name: Mapping[str, Entry] = attrs.field(factory=dict, repr=False)

    def get(self, name: str) -> WorkerType:
        """The worker type of that name or alias.

        Raises UnknownWorkerType, and MissingError where its agent or its place is not there.
        """
        entry = self._by_name.get(name)
        if entry is None:
            usable = ", ".join(entry.type.name for entry in self.entries if not entry.unavailable) or "none"
            raise UnknownWorkerType(
                f"unknown worker type {one_line(name, 80)!r}{did_you_mean(name, self._by_name)}: there are "
                f"{usable} ('mahavishnu workers types' says more)"
            )
        if entry.unavailable:
            raise MissingError(f"worker type {entry.type.name!r} is not available: {entry.unavailable}")
        return entry.type

    def get_for_tasks(self, name: str) -> WorkerType:
        """As ``get``. Raises UsageError for a standing type: its workers take no tasks."""
        kind = self.get(name)
        if kind.standing:
            start = f"'mahavishnu workers spawn -t {kind.name}'"
            raise UsageError(f"worker type {kind.name!r} takes no tasks: start it with {start}")
        return kind

    def env_of(self, name: str) -> Mapping[str, str]:
        """The variables of a type, which are kept nowhere else; none for a type that is no longer offered."""
        entry = self._by_name.get(name)
        return {} if entry is None else entry.type.env


def build_catalog(
    offered: Iterable[tuple[str, WorkerType]],
    settings: Settings,
    *,
    refused: Mapping[str, str] = MappingProxyType({}),
    options: OptionCheck | None = None,
) -> Catalog:
    """Put together what plugins offer (plugin name, type) and what the settings say of it.

    ``refused`` are the plugins that were not loaded, with the reason, for the types that need them. Raises
    SettingsError with all that ``options`` finds wrong in settings files.
    """
    problems: list[str] = []
    sound = list(_sound(offered, problems))
    single, disputed = _disputes(sound, problems)
    known = _Known(
        agents={CORE_AGENT, *(kind.agent for _, kind in sound)},
        places={CORE_PLACE, *(kind.place for _, kind in sound)},
        refused=refused,
    )
    entries = single | disputed
    for override in settings.workers:
        entries[override.name] = _overridden(override, entries.get(override.name), single.values(), known)
    checked = tuple(known.check(entries[name]) for name in sorted(entries))
    if options is not None:
        checked = tuple(known.check_options(entry, options) for entry in checked)
        if problems_of_files := options.problems:
            raise SettingsError(problems_of_files)
    by_name = _with_aliases(checked, problems)
    return Catalog(checked, tuple(map(one_line, problems)), by_name)


def _sound(
    offered: Iterable[tuple[str, WorkerType]], problems: list[str]
) -> Iterator[tuple[str, WorkerType]]:
    """What plugins offer, without what is no worker type or must not be called so: foreign code made it."""
    for plugin, kind in offered:
        if not isinstance(kind, WorkerType):
            problems.append(
                f"plugin {plugin!r} offers {type(kind).__name__} as a worker type: it is not used"
            )
        elif odd := next(filter(None, (_oddity(kind, *field) for field in _FIELDS.items())), None):
            problems.append(
                f"plugin {plugin!r} offers a worker type {str(kind.name)[:80]!r} {odd}: it is not used"
            )
        elif not all(_is_name(word) for word in (kind.name, kind.agent, kind.place, *kind.aliases)):
            problems.append(
                f"plugin {plugin!r} offers a worker type {str(kind.name)[:80]!r}, whose name, agent, place "
                "or alias is not made of lower-case letters, digits, '_', '.' and '-': it is not used"
            )
        else:
            yield plugin, kind


_FIELDS: Mapping[str, tuple[type, ...]] = {
    "aliases": (tuple, list),
    "command_template": (str,),
    "description": (str,),
    "env": (Mapping,),
    "install": (str,),
    "options": (Mapping,),
    "pass_env": (tuple, list),
    "tells": (tuple, list),
}
"""What these fields of a type may be: foreign code made it."""


def _oddity(kind: WorkerType, name: str, classes: tuple[type, ...]) -> str | None:
    value = getattr(kind, name)
    due = classes[0].__name__.lower()
    return None if isinstance(value, classes) else f"whose {name!r} is {type(value).__name__}, no {due}"


def _is_name(word: object) -> bool:
    return isinstance(word, str) and NAME.fullmatch(word) is not None


def _disputes(
    sound: Iterable[tuple[str, WorkerType]], problems: list[str]
) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The types that one plugin offers, and those that several do, which are used from none of them."""
    offers: dict[str, list[Entry]] = {}
    for plugin, kind in sound:
        offers.setdefault(kind.name, []).append(Entry(kind, None, plugin))
    single = {name: found[0] for name, found in offers.items() if len(found) == 1}
    disputed = {}
    for name, found in offers.items():
        if name not in single:
            plugins = " and ".join(repr(entry.source) for entry in found)
            reason = f"it is offered by the plugins {plugins}, so neither is used: uninstall one of them"
            problems.append(f"worker type {name!r}: {reason}")
            source = ", ".join(entry.source for entry in found)
            disputed[name] = Entry(WorkerType(name=name, agent=found[0].type.agent), reason, source)
    return single, disputed


@attrs.frozen
class _Known:
    """The agents and places that loaded plugins bring, and why others are not loaded."""

    agents: Collection[str]
    places: Collection[str]
    refused: Mapping[str, str]

    def check(self, entry: Entry) -> Entry:
        """The entry with what keeps it from being used."""
        kind, reason = entry.type, entry.unavailable
        if reason is None and kind.agent not in self.agents:
            reason = self._missing("agent", kind.agent, self.agents)
        if reason is None and kind.place not in self.places:
            reason = self._missing("place", kind.place, self.places)
        if reason is None and kind.agent == CORE_AGENT and not kind.command_template:
            reason = "it names no command_template, which the agent 'generic' needs"
        return attrs.evolve(entry, unavailable=reason)

    def check_options(self, entry: Entry, options: OptionCheck) -> Entry:
        """The entry with what its place says to its options, if that place is here to be asked."""
        kind = entry.type
        says_nothing = not kind.options and (entry.unavailable is not None or kind.place == CORE_PLACE)
        if says_nothing or kind.place not in self.places:
            return entry
        reason = options.check(kind, is_own=entry.source == "settings")
        return attrs.evolve(entry, unavailable=entry.unavailable or reason)

    def _missing(self, what: str, name: str, known: Collection[str]) -> str:
        if name in self.refused:
            return f"it needs the {what} {name!r}, whose plugin was not loaded: {self.refused[name]}"
        if nearest(name, known, cutoff=0.75):
            return f"no plugin offers the {what} {name!r}{did_you_mean(name, known)}"
        return f"no plugin for the {what} {name!r} is loaded: 'mahavishnu plugins list' shows which are"


def _overridden(
    override: WorkerOverride, below: Entry | None, models: Iterable[Entry], known: _Known
) -> Entry:
    """An entry of the settings laid over the type of its name, or made a type of its own."""
    if below is not None and below.unavailable is None:
        return attrs.evolve(below, type=laid_over(below.type, override))
    agent = override.agent or _agent_in(override.name, known.agents)
    if agent is not None:
        model = attrs.evolve(_model(agent, models), name=override.name)
        return Entry(laid_over(model, override), None, "settings")
    if below is not None:
        return below
    reason = "no plugin offers it, and its entry in the settings names no agent"
    return Entry(WorkerType(name=override.name, agent=""), reason, "settings")


def _agent_in(name: str, agents: Iterable[str]) -> str | None:
    """``claude`` for ``terminal-claude``."""
    fitting = [agent for agent in agents if f"-{name}".endswith(f"-{agent}")]
    return max(fitting, key=len, default=None)


def _model(agent: str, models: Iterable[Entry]) -> WorkerType:
    """What a new type of an agent is like where its entry says nothing: the agent's own local type."""
    kinds = [entry.type for entry in models if entry.type.agent == agent]
    first = min(kinds, key=lambda kind: (kind.place != CORE_PLACE, kind.name), default=None)
    if first is None:
        return WorkerType(name=agent, agent=agent)
    options = first.options if first.place == CORE_PLACE else {}
    return attrs.evolve(first, place=CORE_PLACE, aliases=(), description="", options=options)


def _with_aliases(entries: Iterable[Entry], problems: list[str]) -> dict[str, Entry]:
    """Every entry by its name, and by each alias that is nobody else's name or alias."""
    found = {entry.type.name: entry for entry in entries}
    names = frozenset(found)
    claims: dict[str, list[Entry]] = {}
    for entry in entries:
        for alias in set(entry.type.aliases) - {entry.type.name}:
            claims.setdefault(alias, []).append(entry)
    for alias, claimants in sorted(claims.items()):
        kinds = " and ".join(repr(entry.type.name) for entry in claimants)
        if alias in names:
            problems.append(f"alias {alias!r} of {kinds} is the name of another worker type: it is not used")
        elif len(claimants) > 1:
            problems.append(f"alias {alias!r} is claimed by {kinds}: it is not used")
        else:
            found[alias] = claimants[0]
    return found
