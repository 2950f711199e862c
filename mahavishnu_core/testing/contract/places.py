"""What a place says of itself: options that its types keep, leftovers of its own, how things are."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import trio

from mahavishnu_core.app import App
from mahavishnu_core.asking import LOOK_PATIENCE, TRY_PATIENCE
from mahavishnu_core.engine import open_engine
from mahavishnu_core.health import Check
from mahavishnu_core.host import awaited
from mahavishnu_core.models import Leftover
from mahavishnu_core.settings.options import options_of
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.contract.row import DoesNotApply, Row, require, run
from mahavishnu_core.testing.environs import REACHES_NOBODY, home_in
from mahavishnu_core.testing.hosts import host_with_core
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from mahavishnu_core.models import WorkerType
    from mahavishnu_core.settings import Options
    from mahavishnu_core.testing.contract.subject import Subject


def rows(subject: Subject) -> Iterator[Row]:
    if "place_options" in subject.hooks:
        for kind in subject.types:
            promise = "its options are such as the plugin of its place reads"
            yield Row(f"{kind.name}: options", promise, partial(_has_fit_options, subject, kind))
    if "sweep" in subject.hooks:
        promise = "on a state directory where there was never a worker nothing is left over"
        yield Row("place: sweep", promise, partial(run, partial(_finds_nothing, subject)))
    if "diagnose" in subject.hooks:
        promise = "what it finds of itself are checks, each of them said in words"
        yield Row("diagnose", promise, partial(run, partial(_gives_checks, subject)))


def _has_fit_options(subject: Subject, kind: WorkerType) -> str:
    answer = subject.host.ask("place_options", place=kind.place)
    if answer is None:
        raise DoesNotApply(f"its place {kind.place!r} is not the plugin's own")
    is_fit = isinstance(answer, type) and attrs.has(answer)
    require(is_fit, f"place_options answers {answer!r}, no attrs class")
    cls = cast("type[Options]", answer)
    _, faults = options_of(kind, cls)
    said = "; ".join(f"{'.'.join(map(str, key))}: {text}" for key, text in faults)
    require(not faults, one_line(said, 300))
    return f"{cls.__name__}: {', '.join(kind.options) or 'all as by default'}"


async def _finds_nothing(subject: Subject) -> str:
    found = await _ask(subject, "sweep", remove=False)
    odd = [each for each in found if not isinstance(each, Leftover)]
    require(not odd, f"gives {one_line(repr(odd[:1]), 150)} where a Leftover is due")
    names = one_line("; ".join(map(str, found)), 300)
    require(not found, f"finds {names}, which is none of this state directory's")
    return "nothing"


async def _gives_checks(subject: Subject) -> str:
    found = await _ask(subject, "diagnose", kinds=subject.types)
    checks = [each for each in found if isinstance(each, Check)]
    require(len(checks) == len(found), f"gives {one_line(repr(found), 150)} where Checks are due")
    mute = [check.subject for check in checks if not (check.subject and check.detail)]
    require(not mute, f"says nothing in its check of {mute}")
    return "; ".join(f"{check.subject}: {check.grade}" for check in checks) or "nothing"


async def _ask(subject: Subject, hook: str, **arguments: object) -> Sequence[object]:
    """What the plugin answers with an engine on a fresh state directory. Raises DoesNotApply for None."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        app = App(host_with_core({}), StateDir(home / "state"), environ=home_in(home, REACHES_NOBODY))
        async with open_engine(app, 1) as engine:
            answer = subject.host.ask(hook, engine=engine, **arguments)
            if not isinstance(answer, Awaitable):
                raise DoesNotApply("it declines")
            with trio.fail_after(TRY_PATIENCE if hook == "diagnose" else LOOK_PATIENCE):
                return await awaited(answer, Sequence)  # type: ignore[type-abstract]  # mypy 4717
