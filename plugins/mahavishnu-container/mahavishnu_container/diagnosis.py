"""What ``doctor`` says of containers: whether daemons answer, and whether the images of types are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_container.images import has_image
from mahavishnu_container.options import ContainerOptions
from mahavishnu_container.runtime import open_runtime
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.health import Check
from mahavishnu_core.settings import read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mahavishnu_core import Engine, WorkerType


async def diagnose_types(engine: Engine, kinds: Sequence[WorkerType]) -> list[Check]:
    """One line for each type."""
    return [await _diagnose(engine, kind) for kind in kinds]


async def _diagnose(engine: Engine, kind: WorkerType) -> Check:
    subject = f"type {kind.name}"
    options = read_options(kind, ContainerOptions)
    try:
        runtime = await open_runtime(engine, options.runtime)
        is_here = await runtime.call(has_image, runtime, options.image)
    except MahavishnuError as error:
        text, _, advice = str(error).rpartition(": ")
        return Check(subject, "warning", text, advice)
    detail = f"agent {kind.agent} in {options.image}, {runtime.name} {runtime.version}"
    if is_here:
        return Check(subject, "ok", detail)
    advice = f"'{runtime.name} pull {options.image}'"
    if options.pull == "never":
        return Check(subject, "warning", f"{detail}; the image is not here", f"get it with {advice}")
    return Check(subject, "ok", f"{detail}; the image will be pulled first, or now with {advice}")
