"""Loads the plugins and calls their hooks, so that one that is broken is named and harms no other."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TypeAlias, TypeVar

import attrs
import pluggy

from mahavishnu_core import hookspecs
from mahavishnu_core.entry_points import EntryPoint, discover
from mahavishnu_core.errors import MahavishnuError, PluginError
from mahavishnu_core.markers import HOOK_API
from mahavishnu_core.watch import Blocked, HookBlocked, HookFailed, Watch, WatchedAwaitable, explain

T = TypeVar("T")
_Arguments: TypeAlias = Mapping[str, object]
_Caller: TypeAlias = Callable[[pluggy.HookImpl, _Arguments], object]

HOOK_LIMIT = 2.0
"""Seconds in which plugin code must come back; at half of them it is named."""
IMPORT_LIMIT = 10.0
"""The same for the import of a plugin: a cold disk is no fault of it."""


@attrs.frozen
class Loaded:
    """A plugin that takes part: its name, its distribution, the hooks it implements."""

    name: str
    source: str
    hooks: tuple[str, ...]


@attrs.frozen
class Refused:
    """A plugin that does not take part, or no longer, and why."""

    name: str
    source: str
    reason: str
    cause: BaseException | None = attrs.field(default=None, eq=False, repr=False)
    hook: str | None = None
    """The hook in which it failed, for one that takes part in the others."""

    def __str__(self) -> str:
        what = "not loaded" if self.hook is None else f"not asked for {self.hook} any more"
        return f"plugin {self.name!r} ({self.source}) {what}: {self.reason}"


class Host:
    """The plugins of one engine or command line."""

    def __init__(self, plugins: pluggy.PluginManager) -> None:
        self.loaded: list[Loaded] = []
        self.refused: list[Refused] = []
        self.blocked: list[Blocked] = []
        """Where plugins did not come back for a while, once for each hook."""
        self.on_refused: Callable[[Refused], None] | None = None
        """Told of each plugin that is cut off later on."""
        self._plugins = plugins
        self._own: set[str] = set()
        """Parts of the core itself: they are not watched."""
        self._cut: dict[tuple[str, str], str] = {}
        """Plugins that are not asked a hook any more, with the hook: why."""
        self._watches: dict[tuple[str, str], Watch] = {}

    def load(self, entry: EntryPoint) -> None:
        """Take a plugin in, or note why not. Its code is foreign: anything may come."""
        reason, cause = None, None
        if self._plugins.has_plugin(entry.name):
            first = next(plugin.source for plugin in self.loaded if plugin.name == entry.name)
            self.refused.append(Refused(entry.name, entry.source, f"{first} has taken that name"))
            return
        try:
            watch = Watch(entry.name, entry.source, "import", IMPORT_LIMIT, self.note)
            reason = watch.run(partial(self._take_in, entry))
        except Exception as error:  # noqa: BLE001  # foreign code: anything may come
            reason, cause = explain(error), error
        if reason is None:
            self.loaded.append(Loaded(entry.name, entry.source, self._hooks_of(entry.name)))
            return
        if self._plugins.has_plugin(entry.name):
            self._plugins.unregister(name=entry.name)
        self.refused.append(Refused(entry.name, entry.source, reason, cause))

    def add(self, name: str, plugin: object) -> None:
        """Take in a plugin that the program brings along."""
        self._plugins.register(plugin, name=name)
        self.loaded.append(Loaded(name, "mahavishnu-core", self._hooks_of(name)))

    def add_own(self, name: str, plugin: object) -> None:
        """Take in a part of the core itself."""
        self.add(name, plugin)
        self._own.add(name)

    def ask(self, hook: str, **arguments: object) -> object | None:
        """The first answer to a *first result* hook that is not None.

        Raises PluginError when nobody answers and a plugin failed: it may have been its to answer.
        """
        found = self.answered(hook, **arguments)
        return None if found is None else found[1]

    def answered(self, hook: str, **arguments: object) -> tuple[str, object] | None:
        """As ``ask``, with the name of the plugin that answers."""
        failure: PluginError | None = None
        for implementation in self._implementations(hook):
            try:
                answer = self._call(implementation, hook, arguments, _called)
            except HookFailed as error:
                failure = error
                continue
            except MahavishnuError:
                raise
            except Exception as error:  # noqa: BLE001  # foreign code
                failure = self._failure(implementation, hook, error)
                continue
            if answer is not None:
                return implementation.plugin_name, answer
        if failure:
            raise failure
        return None

    def all(self, hook: str, **arguments: object) -> list[tuple[str, object]]:
        """What each plugin answers that does; one that fails is not asked this any more, and noted."""
        answers = []
        for name, answer in self.attempts(hook, **arguments):
            if not isinstance(answer, Exception):
                answers.append((name, answer))
            else:
                self.cut_off(name, hook, answer.__cause__ or answer)
        return answers

    def attempts(self, hook: str, **arguments: object) -> list[tuple[str, object]]:
        """What each plugin answers that does, an exception for one that fails."""
        answers: list[tuple[str, object]] = []
        for implementation in self._implementations(hook):
            try:
                answer = self._call(implementation, hook, arguments, _listed)
            except HookBlocked as error:
                answers.append((implementation.plugin_name, error))
                continue
            except Exception as error:  # noqa: BLE001  # foreign code
                failure = self._failure(implementation, hook, error)
                answers.append((implementation.plugin_name, failure))
                continue
            if answer is not None:
                answers.append((implementation.plugin_name, answer))
        return answers

    def calls(self, hook: str) -> list[tuple[str, Callable[[_Arguments], object]]]:
        """Each plugin that takes part in a hook, with what calls it: for who watches it by other means."""
        found = self._implementations(hook)
        return [
            (each.plugin_name, partial(_called, each))
            for each in found
            if (each.plugin_name, hook) not in self._cut
        ]

    def watch(self, name: str, hook: str) -> Watch | None:
        """A watch for code that a plugin has handed out; None for what the core itself has."""
        if name in self._own:
            return None
        return Watch(name, self.distribution(name), hook, HOOK_LIMIT, self.note)

    def note(self, blocked: Blocked) -> None:
        """Keep in mind that a plugin did not come back, the first time for each hook."""
        if not any((each.plugin, each.hook) == (blocked.plugin, blocked.hook) for each in self.blocked):
            self.blocked.append(blocked)

    def cut_off(self, name: str, hook: str, error: BaseException) -> None:
        """Do not ask a plugin a hook any more, and note why, once."""
        if (name, hook) in self._cut:
            return
        reason = explain(error) if isinstance(error, HookBlocked) else f"{hook} failed: {explain(error)}"
        refused = Refused(name, self.distribution(name), reason, error, hook)
        self.refused.append(refused)
        self._cut[name, hook] = reason
        if self.on_refused is not None:
            self.on_refused(refused)

    def implementers(self, hook: str) -> list[str]:
        """The names of the plugins that implement a hook, in order of loading."""
        names = {name for name, _ in self.calls(hook)}
        return [plugin.name for plugin in self.loaded if plugin.name in names]

    def distribution(self, name: str) -> str:
        return next((plugin.source for plugin in self.loaded if plugin.name == name), name)

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._plugins.hook, hook)
        return caller.get_hookimpls()  # the core first: nobody answers in its place

    def _call(
        self, implementation: pluggy.HookImpl, hook: str, arguments: _Arguments, call: _Caller
    ) -> object:
        """What a plugin answers. Raises its Exception; HookBlocked when it blocks, and ever after."""
        name = implementation.plugin_name
        if name in self._own:
            return call(implementation, arguments)
        if (name, hook) in self._cut:
            raise HookBlocked(name, self.distribution(name), hook, self._cut[name, hook])
        watch = self._watches.get((name, hook)) or self._watch_for(name, hook)
        answer = watch.run(partial(call, implementation, arguments))
        return WatchedAwaitable(answer, watch) if isinstance(answer, Awaitable) else answer

    def _watch_for(self, name: str, hook: str) -> Watch:
        watch = Watch(
            name, self.distribution(name), hook, HOOK_LIMIT, self.note, partial(self.cut_off, name, hook)
        )
        self._watches[name, hook] = watch
        return watch

    def _take_in(self, entry: EntryPoint) -> str | None:
        """Import and register a plugin; why it cannot take part, if it cannot."""
        plugin = entry.load()
        reason = _unfit(plugin)
        if reason is not None:
            return reason
        self._plugins.register(plugin, name=entry.name)
        self._plugins.check_pending()
        return self._misuse(entry.name)

    def _hooks_of(self, name: str) -> tuple[str, ...]:
        callers = self._plugins.get_hookcallers(self._plugins.get_plugin(name)) or []
        return tuple(sorted(caller.name for caller in callers))

    def _misuse(self, name: str) -> str | None:
        """What a plugin does with a hook that looks right and would break it for all others."""
        for caller in self._plugins.get_hookcallers(self._plugins.get_plugin(name)) or ():
            (own,) = [found for found in caller.get_hookimpls() if found.plugin_name == name]
            if own.wrapper or own.hookwrapper:
                return f"its {caller.name} is a hook wrapper: only plain hooks are called"
            if own.tryfirst or own.trylast:
                return f"its {caller.name} is marked tryfirst or trylast: the order is the core's affair"
            if iscoroutinefunction(own.function) or isasyncgenfunction(own.function):
                return f"its {caller.name} is an 'async def': make it a plain 'def' that returns an awaitable"
        return None

    def _failure(self, implementation: pluggy.HookImpl, hook: str, error: Exception) -> HookFailed:
        name = implementation.plugin_name
        failure = HookFailed(name, self.distribution(name), hook, explain(error))
        failure.__cause__ = error
        return failure


def load_plugins(environ: Mapping[str, str] = os.environ, *, third_party: bool = True) -> Host:
    """A host with all installed plugins, or those that ``MAHAVISHNU_PLUGINS`` names (``a,b``)."""
    host = Host(_new_manager())
    allowed = environ.get("MAHAVISHNU_PLUGINS")
    names = None if allowed is None else {name.strip() for name in allowed.split(",")}
    from mahavishnu_core import builtin

    host.add_own("core", builtin)
    entries = sorted(discover(), key=_right_to_name) if third_party else []
    for entry in entries:
        if names is None or entry.name in names:
            host.load(entry)
    if names is not None and third_party:
        host.refused += _not_installed(names, {entry.name for entry in entries})
    return host


def _not_installed(names: set[str], installed: set[str]) -> Iterable[Refused]:
    from mahavishnu_core.settings.suggest import did_you_mean

    for name in sorted(names - installed - {""}):
        reason = f"no plugin of that name is installed{did_you_mean(name, installed)}"
        yield Refused(name, "MAHAVISHNU_PLUGINS", reason)


def host_of(plugins: Mapping[str, object]) -> Host:
    """A host with just these plugins: for programs that bring their own, and for tests."""
    host = Host(_new_manager())
    for name, plugin in plugins.items():
        host.add(name, plugin)
    return host


async def awaited(answer: object, kind: type[T]) -> T:
    """What an async hook's answer comes to. Raises PluginError where it is not of the promised kind."""
    if not isinstance(answer, Awaitable):
        raise PluginError(f"a hook answered {type(answer).__name__} where an awaitable is due")
    value = await answer
    if not isinstance(value, kind):
        raise PluginError(f"a hook gave {type(value).__name__} where {kind.__name__} is due")
    return value


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("mahavishnu")
    manager.add_hookspecs(hookspecs)
    return manager


def _right_to_name(entry: EntryPoint) -> tuple[str, bool]:
    """Of those that want one name, the distribution that is called after it comes first."""
    return entry.name, entry.distribution != f"mahavishnu-{entry.name}"


def _unfit(plugin: object) -> str | None:
    """Why a plugin cannot take part, before it is registered."""
    api = getattr(plugin, "HOOK_API", None)
    if api is None:
        return f"it does not say which hooks it was written for: add 'HOOK_API = {HOOK_API}'"
    if api != HOOK_API:
        newer = isinstance(api, int) and api > HOOK_API
        needed = "it needs a newer mahavishnu-core" if newer else "it is too old for this mahavishnu-core"
        return f"it was written for hook API {api!r}, this is {HOOK_API}: {needed}"
    return None


def _called(implementation: pluggy.HookImpl, arguments: _Arguments) -> object:
    wanted: Collection[str] = implementation.argnames
    answer: object = implementation.function(*[arguments[name] for name in wanted])
    return answer


def _listed(implementation: pluggy.HookImpl, arguments: _Arguments) -> object:
    answer = _called(implementation, arguments)
    if isinstance(answer, Iterable) and not isinstance(answer, Awaitable):
        return list(answer)  # a generator runs its plugin's code only now
    return answer
