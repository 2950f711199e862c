"""``doctor``: what is usable here, and what to do where something is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click
import trio

from mahavishnu_cli import checks, probe
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json
from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import SettingsError
from mahavishnu_core.models import Swept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mahavishnu_cli.start import Start
    from mahavishnu_core.app import App
    from mahavishnu_core.catalog import Catalog, Entry
    from mahavishnu_core.health import Check
    from mahavishnu_core.models import JSON

_EXIT_MISSING = 3
_MARKS = {"ok": "ok  ", "warning": "warn", "problem": "FAIL"}


@click.command(
    "doctor",
    epilog=example(
        "mahavishnu doctor", "mahavishnu doctor --json | jq '.checks[] | select(.grade != \"ok\")'"
    ),
)
@json_option("the checks")
@click.pass_obj
def doctor(start: Start, as_json: bool) -> int:
    """Check what is usable here, and what to do where not.

    Looks at Python, the state directory, plugins, settings, worker types with their programs, storages, what
    is left over from workers that are gone, and what plugins know of themselves.
    Exit status 0 if everything that is needed is usable, else 3.
    """
    found = [checks.check_python(), checks.check_system(), *checks.check_state(start.state)]
    found += [*checks.check_plugins(start.host), *_check_settings(start, found)]
    usable = all(check.grade != "problem" for check in found)
    if as_json:
        emit_json({"usable": usable, "checks": [_to_dict(check) for check in found]})
    else:
        for check in found:
            emit(f"{_MARKS[check.grade]}  {check.subject}: {check.detail}")
            if check.advice:
                emit(f"      -> {check.advice}")
    return 0 if usable else _EXIT_MISSING


def _check_settings(start: Start, before: list[Check]) -> Iterator[Check]:
    """The settings, and what depends on them."""
    try:
        loaded, catalog = start.app.loaded, start.app.catalog
    except SettingsError as error:
        yield from checks.check_settings(error.problems, ())
        return
    yield from checks.check_settings((), (*loaded.warnings, *catalog.problems))
    default = loaded.settings.worker_default_type
    own = _check_types(catalog, default)
    is_usable = all(check.grade != "problem" for check in before)
    heard = trio.run(_hear, start.app) if is_usable else _Heard()
    types, rest = checks.with_diagnoses(own, heard.checks, default)
    yield from types
    yield from checks.check_any_type(types)
    yield from checks.check_storages(catalog.entries, start.host.implementers("store_result"))
    yield from checks.check_searching(heard.failing_storages)
    yield from checks.check_leftovers(heard.swept)
    yield from rest


def _check_types(catalog: Catalog, default: str) -> list[tuple[Entry, Check]]:
    """What we can say of each type by ourselves."""
    programs = {entry.type.name: checks.program_of(entry.type) for entry in catalog.entries}
    to_ask = {
        path
        for entry in catalog.entries
        if (path := programs[entry.type.name]) and not entry.unavailable and checks.probes_version(entry.type)
    }
    answers = trio.run(probe.versions, to_ask)
    return [
        (
            entry,
            checks.check_type(
                entry,
                program := programs[entry.type.name],
                answers.get(program or "", probe.Answer()),
                is_default=entry.type.name == default,
            ),
        )
        for entry in catalog.entries
    ]


@attrs.define
class _Heard:
    """What plugins say when they are asked."""

    failing_storages: Mapping[str, str] = attrs.field(factory=dict)
    """Those that can be searched and do not answer, each with its reason."""
    swept: Swept = attrs.field(default=Swept(()))
    checks: list[Check] = attrs.field(factory=list)


async def _hear(app: App) -> _Heard:
    """Ask all plugins at once: one that is slow costs its own time only."""
    heard = _Heard()
    kinds = [entry.type for entry in app.catalog.entries if entry.unavailable is None]

    async def search() -> None:
        _, heard.failing_storages = await manager.search_results("", 1)

    async def sweep() -> None:
        heard.swept = await manager.sweep()

    async def diagnose() -> None:
        heard.checks = await manager.diagnose(kinds)

    async with WorkerManager(app) as manager, trio.open_nursery() as nursery:
        for ask in (search, sweep, diagnose):
            nursery.start_soon(ask)
    return heard


def _to_dict(check: Check) -> dict[str, JSON]:
    return {"subject": check.subject, "grade": check.grade, "detail": check.detail, "advice": check.advice}
