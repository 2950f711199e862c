"""What a plugin says of itself: its types, its samples, whether both agree, and what nobody looks at."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, get_args

from mahavishnu_core import events
from mahavishnu_core.catalog import CORE_AGENT
from mahavishnu_core.entry_points import discover
from mahavishnu_core.models import Told, WorkerStatus
from mahavishnu_core.settings.schema import NAME
from mahavishnu_core.testing.contract.row import DoesNotApply, Row, require
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mahavishnu_core.events import Event
    from mahavishnu_core.models import WorkerType
    from mahavishnu_core.testing.contract.subject import Subject
    from mahavishnu_core.testing.samples import Sample

HEAVY = (
    "attrs",
    "asyncio",
    "cattrs",
    "docker",
    "iterm2",
    "mcp",
    "msgspec",
    "orjson",
    "pydantic",
    "rich",
    "sqlite3",
    "starlette",
    "trio",
)
"""What the module of a plugin must not load when it is imported: every command imports it."""
_WITHOUT_ROWS = {
    "spawn": ("place", "places"),
    "launch": ("place", "places"),
    "close": ("place", "places"),
    "register_commands": ("command line", "commands of the command line"),
    "register_tools": ("server", "tools of the MCP server"),
}
"""Hooks that nothing here calls: what row each has instead, and in whose name."""


def rows(subject: Subject) -> Iterator[Row]:
    yield Row(
        "light", "its module is imported without anything heavy", partial(_loads_nothing_heavy, subject)
    )
    if {"worker_types", "samples"} & set(subject.hooks):
        yield Row(
            "declared",
            "what its hooks offer are worker types, and samples of them",
            partial(_offers_what_is_due, subject),
        )
    for kind in subject.types:
        yield Row(
            f"{kind.name}: type",
            "its names can be used, and it says what it is",
            partial(_is_a_fit_type, kind),
        )
        yield Row(
            f"{kind.name}: samples",
            "recorded runs come with it, one of them completed, with the verdicts that are due",
            partial(_has_samples, subject, kind),
        )
        for sample in subject.samples_of(kind):
            yield Row(
                f"{kind.name}: sample {sample.name}",
                f"it is {sample.status.value}" + (f" ({sample.reason})" if sample.reason else ""),
                partial(_comes_to_its_verdict, subject, kind, sample),
            )
        yield Row(
            f"{kind.name}: drift",
            "what it declares that its agent tells is what its samples show",
            partial(_tells_what_it_declares, subject, kind),
        )
    for part, hook, reason in _nobody_looks_at(subject):
        yield Row(
            f"{part}: {hook}", "nothing yet: its own tests have to show it", partial(_does_not_apply, reason)
        )


def _loads_nothing_heavy(subject: Subject) -> str:
    entry = next((entry for entry in discover() if entry.name == subject.name), None)
    if entry is None:
        raise DoesNotApply("it is not installed")
    module = entry.value.partition(":")[0].strip()
    code = f"import sys; import {module}; print(*set({HEAVY!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"importing {module} alone fails: {one_line(done.stderr[-300:])}")
    loaded = done.stdout.split()
    require(
        not loaded, f"importing {module} loads {', '.join(sorted(loaded))}: import it inside the functions"
    )
    return module


def _offers_what_is_due(subject: Subject) -> str:
    odd = one_line("; ".join(subject.odd), 300)
    require(not odd, f"neither a WorkerType nor a Sample: {odd}")
    stray = {str(sample.worker_type) for sample in subject.samples} - {kind.name for kind in subject.types}
    require(not stray, f"samples of {', '.join(map(repr, sorted(stray)))}, a type that it does not offer")
    return f"{len(subject.types)} worker types, {len(subject.samples)} samples"


def _is_a_fit_type(kind: WorkerType) -> str:
    for word in (kind.name, kind.agent, kind.place, *kind.aliases):
        require(
            NAME.fullmatch(word), f"{word!r} is no name: lower-case letters, digits, '_', '.' and '-', please"
        )
    unknown = set(kind.tells) - set(get_args(Told))
    require(not unknown, f"tells {sorted(unknown)}: what can be told is {', '.join(get_args(Told))}")
    require(kind.description, "it has no description, which 'workers types' shows")
    return kind.description


def _has_samples(subject: Subject, kind: WorkerType) -> str:
    if kind.agent == CORE_AGENT:
        raise DoesNotApply("its agent is the core's own")
    if subject.lends_place(kind):
        raise DoesNotApply(f"its agent {kind.agent!r} is another plugin's")
    found = subject.samples_of(kind)
    require(found, "no samples: offer recorded runs of its program in the hook 'samples'")
    completed = sum(sample.status is WorkerStatus.COMPLETED for sample in found)
    require(completed or kind.standing, "no sample is a completed run")
    versions = sorted({sample.version for sample in found if sample.version})
    return f"{completed} completed, {len(found) - completed} not, of {', '.join(versions) or 'no version'}"


def _comes_to_its_verdict(subject: Subject, kind: WorkerType, sample: Sample) -> str:
    result = subject.read(kind, sample).result
    got, due = (result.status.value, result.metadata["reason"]), (sample.status.value, sample.reason)
    require(got == due, f"{got} where {due} is due; error: {one_line(result.error or '', 200)}")
    if sample.output is not None:
        require((result.output or "") == sample.output, f"output {one_line(result.output or '', 200)!r}")
    return one_line(result.output or result.error or "", 60)


def _tells_what_it_declares(subject: Subject, kind: WorkerType) -> str:
    found = subject.samples_of(kind)
    if not found:
        raise DoesNotApply("no samples")
    seen = {what for sample in found for what in told_by(subject.read(kind, sample).events)}
    declared = set(kind.tells)
    missing, extra = sorted(declared - seen), sorted(seen - declared)
    says = f"declared {sorted(declared)}, seen {sorted(seen)}"
    require(not missing, f"{', '.join(missing)} never seen in a sample; {says}")
    require(not extra, f"{', '.join(extra)} not declared in WorkerType.tells; {says}")
    return ", ".join(sorted(seen)) or "nothing beside its answer"


def told_by(found: Iterable[Event]) -> set[str]:
    """What events show that an agent tells beside its answer."""
    told: set[str] = set()
    for event in found:
        match event:
            case events.Started(session_id=session, model=model):
                told |= {"session"} if session else set()
                told |= {"model"} if model else set()
            case events.Text(partial=True):
                told.add("partial_text")
            case events.Thinking(text=text) if text:
                told.add("thinking")
            case events.ToolCall():
                told.add("tool_calls")
            case events.ToolResult():
                told.add("tool_results")
            case events.Usage(tokens=tokens, cost_usd=cost):
                told |= {"usage"} if tokens.total else set()
                told |= {"cost"} if cost is not None else set()
        if getattr(event, "parent", None):
            told.add("subagents")
    return told


def _nobody_looks_at(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """The hooks of a plugin that no row calls, each with its part and the reason."""
    for hook, (part, what) in _WITHOUT_ROWS.items():
        if hook in subject.hooks:
            yield part, hook, f"there are no rows for {what} yet: its own tests have to show it"
    if "search_results" in subject.hooks and "store_result" not in subject.hooks:
        yield "search", "search_results", "it stores nothing that could be looked for"
    if not subject.types:
        for part, hook in (("agent", "execute"), ("agent", "parse_progress"), ("place", "place_options")):
            if hook in subject.hooks:
                yield part, hook, "it offers no worker type to try it with"


def _does_not_apply(reason: str) -> str:
    raise DoesNotApply(reason)
