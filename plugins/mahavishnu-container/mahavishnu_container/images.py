"""Images: there already, or pulled while the one who waits is told how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_core.errors import MahavishnuError, MissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mahavishnu_container.options import ContainerOptions
    from mahavishnu_container.runtime import Runtime
    from mahavishnu_core import Engine

_MIB = 1024 * 1024
_NOT_HERE = (400, 404, 500)
"""What is answered for an image that is not here, by Docker 20.10 and Podman 4.3 also for what is no name."""
_LAST_WORDS = {"docker": "Pull complete", "podman": "Download complete"}
"""What is said last of a layer: Podman 4.3 does not tell of unpacking."""


async def require_image(engine: Engine, runtime: Runtime, options: ContainerOptions) -> None:
    """Have the image, pulling it where that is allowed. Raises MissingError where it cannot be had."""
    async with runtime.pulling:  # workers that are spawned together wait for one pull
        await _require(engine, runtime, options)


async def _require(engine: Engine, runtime: Runtime, options: ContainerOptions) -> None:
    image = options.image
    if await runtime.call(has_image, runtime, image):
        return
    if options.pull == "never":
        raise MissingError(
            f"the image {image!r} is not here, and 'pull: never' forbids to get it: "
            f"run '{runtime.name} pull {image}'"
        )

    def pull() -> None:
        messages = runtime.client.api.pull(image, stream=True, decode=True)
        for line in progress_of(messages, _LAST_WORDS[runtime.name]):
            trio.from_thread.run_sync(engine.notify, f"pulling {image}: {line}")

    try:
        await runtime.call(pull)
    except MahavishnuError as error:
        raise MissingError(
            f"the image {image!r} is not here and cannot be pulled: {error}: check its name in the worker "
            f"type's options, and the network"
        ) from error


def has_image(runtime: Runtime, image: str) -> bool:
    """Whether an image is there; what is no image's name is not, and who pulls it hears why. Blocks."""
    from docker.errors import APIError

    try:
        runtime.client.images.get(image)
    except APIError as error:
        if error.status_code not in _NOT_HERE:
            raise
        return False
    return True


def progress_of(
    messages: Iterable[Mapping[str, object]], last_word: str = _LAST_WORDS["docker"]
) -> Iterator[str]:
    """How far a pull is, whenever the daemon says something. Raises MahavishnuError with its reason to stop.

    It does so when all is read: of what is read in part the SDK keeps the connection.

    A message tells of one layer: ``{"id": …, "status": "Downloading", "progressDetail": {"current": …,
    "total": …}}`` (seen in Docker 20.10).
    """
    sizes: dict[str, tuple[int, int]] = {}
    layers: dict[str, bool] = {}
    why = None
    for message in messages:
        why = why or message.get("error")
        layer, status, detail = message.get("id"), message.get("status"), message.get("progressDetail")
        if not isinstance(layer, str) or not isinstance(detail, dict):
            continue
        layers[layer] = status in (last_word, "Already exists")
        if status == "Downloading" and "total" in detail:
            sizes[layer] = (int(detail.get("current", 0)), int(detail["total"]))
        elif status == "Download complete" and layer in sizes:
            sizes[layer] = (sizes[layer][1], sizes[layer][1])
        have, total = (sum(column) for column in zip(*sizes.values(), strict=True)) if sizes else (0, 0)
        done = sum(layers.values())
        yield f"{done} of {len(layers)} layers, {have / _MIB:.0f} of {total / _MIB:.0f} MiB"
    if why:
        raise MahavishnuError(str(why))
