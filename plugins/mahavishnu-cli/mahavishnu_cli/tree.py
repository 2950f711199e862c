"""The tree of commands: what each is for in a line, and the module in which it lies."""

from __future__ import annotations

from mahavishnu_cli.lazy import LazyCommand, LazyGroup

_HOME = "mahavishnu_cli.commands"


def _group(name: str, text: str, line: str, *commands: LazyCommand) -> LazyGroup:
    return LazyGroup(
        name,
        commands={command.name or "": command for command in commands},
        help=text,
        epilog=f"\b\nExample:\n  mahavishnu {name} {line}",
    )


def _lazy(name: str, place: str, summary: str) -> LazyCommand:
    return LazyCommand(name, f"{_HOME}.{place}", summary)


WORKERS = _group(
    "workers",
    "Run workers: give them tasks, watch, collect, close.",
    "execute --type shell --count 3 --prompt 'make test'",
    _lazy("execute", "execute:execute", "Give workers a prompt and wait for the results."),
    _lazy("batch", "batch:batch", "Carry out the tasks of a file; go on where it stopped."),
    _lazy("spawn", "spawn:spawn", "Make workers ready, and print their ids."),
    _lazy("list", "list:list_workers", "List the workers and what they are doing."),
    _lazy("monitor", "monitor:monitor", "Watch workers until nothing runs any more."),
    _lazy("logs", "logs:logs", "Show what an agent did, as a transcript."),
    _lazy("results", "results:results", "Print the results of workers, whole."),
    _lazy("close", "close:close", "End workers and give back what they hold."),
    _lazy("health", "health:health", "Say how the workers are doing, taken together."),
    _lazy("types", "types:types", "List the worker types, and why one cannot be used."),
)
RESULTS = _group(
    "results",
    "Find, show and store the results of tasks.",
    "search 'REST API'",
    _lazy("search", "stored:search", "Search the stored results for words."),
    _lazy("show", "stored:show", "Show one result whole, with the evidence for it."),
    _lazy("sync", "stored:sync", "Store what some storage does not have yet, and send what waits in one."),
)
PLUGINS = _group(
    "plugins",
    "See which plugins take part, and which do not.",
    "list",
    _lazy("list", "plugins:list_plugins", "List the plugins, loaded and refused."),
    _lazy("check", "plugins_check:check", "Check an installed plugin: does it keep the contract?"),
    _lazy("new", "plugins_new:new", "Write a plugin for an agent of your own, to begin with."),
)
CONFIG = _group(
    "config",
    "See and change the settings.",
    "set worker_default_type terminal-claude",
    _lazy("show", "config:show", "Show the settings that hold, and where each comes from."),
    _lazy("check", "config:check", "Check all settings files."),
    _lazy("path", "config:path", "List the directories in which settings are looked for."),
    _lazy("trust", "config:trust", "Trust the settings of this project as they are now."),
    _lazy("set", "config:set_value", "Change a setting in your own file."),
)
COMMANDS = (
    WORKERS,
    RESULTS,
    PLUGINS,
    CONFIG,
    _lazy("replay", "replay:replay", "Show a recorded run once more, as it went."),
    _lazy("doctor", "doctor:doctor", "Check what is usable here, and what to do where not."),
    _lazy("completion", "completion:completion", "Print the script for completion in your shell."),
)
