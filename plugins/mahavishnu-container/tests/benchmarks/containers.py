"""How fast containers start and take commands, against the ``docker`` command doing the same.

Method: a Docker daemon of its own, an image of Busybox, the same limits for both sides, which take turns; one
engine that stays open on ours, one process for each command on the other, as either is used. Start: until the
container runs. Command: ``:`` in a container that is up, until its result is kept. Twenty at once: that many
containers made, a command in each, all removed; the other side by ``xargs -P 8``. Medians, and the least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import load_app

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.daemon import run_daemon
from tests.images import base_image

BOUND = 1.1
MANY = 20
TYPE = "container-executor"
LIMITS = [
    "--init",
    "--network",
    "none",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--memory",
    "64m",
    "--memory-swap",
    "64m",
    "--pids-limit",
    "512",
    "--user",
    "65534",
    "--tmpfs",
    "/home/worker:size=512m",
]
SETTINGS = "workers:\n  - name: container-executor\n    options: {{image: {image}, memory: 64m}}\n"


def docker(environ: Mapping[str, str], *words: str) -> str:
    told = subprocess.run(["docker", *words], env=environ, check=True, capture_output=True, text=True)
    return told.stdout.strip()


class Sides:
    """The two ways to do each thing."""

    def __init__(
        self, manager: WorkerManager, image: str, environ: Mapping[str, str], workspace: Path
    ) -> None:
        self._manager = manager
        self._environ = environ
        self._run = ["run", "-d", *LIMITS, "-v", f"{workspace}:/workspace", "--entrypoint", "sleep", image]
        self._workspace = workspace

    async def start_ours(self) -> list[str]:
        return await self._manager.spawn_workers(TYPE, 1, repo=self._workspace)

    async def start_theirs(self) -> list[str]:
        return [await self._docker(*self._run, "2147483647")]

    async def command_ours(self, container: str) -> None:
        result = await self._manager.execute_task(container, ":")
        assert result.is_success(), result

    async def command_theirs(self, container: str) -> None:
        await self._docker("exec", container, "sh", "-c", ":")

    async def many_ours(self) -> None:
        workers = await self._manager.spawn_workers(TYPE, MANY, repo=self._workspace)
        results = await self._manager.execute_batch(workers, [":"] * MANY)
        assert all(result.is_success() for result in results), results
        await self._manager.close_all()

    async def many_theirs(self) -> None:
        script = 'c=$(docker "$@") && docker exec "$c" sh -c : && docker rm -f "$c"'
        words = ["xargs", "-P", "8", "-I", "{}", "sh", "-c", script, "{}", *self._run, "2147483647"]
        numbers = "\n".join(map(str, range(MANY))).encode()
        await trio.run_process(words, stdin=numbers, env=self._environ, capture_stdout=True)

    async def remove_theirs(self, container: str) -> None:
        await self._docker("rm", "-f", container)

    async def _docker(self, *words: str) -> str:
        return await trio.to_thread.run_sync(docker, self._environ, *words)


async def timed(action: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await action()
    return time.perf_counter() - began


async def measure(sides: Sides, rounds: int) -> dict[str, dict[str, list[float]]]:
    times: dict[str, dict[str, list[float]]] = {
        what: {"docker": [], "mahavishnu": []} for what in ("start", "command", "twenty at once")
    }
    (ours,), (theirs,) = await sides.start_ours(), await sides.start_theirs()
    await sides.command_ours(ours)
    for _ in range(rounds):
        times["start"]["docker"].append(await timed(sides.start_theirs))
        times["start"]["mahavishnu"].append(await timed(sides.start_ours))
        times["command"]["docker"].append(await timed(lambda: sides.command_theirs(theirs)))
        times["command"]["mahavishnu"].append(await timed(lambda: sides.command_ours(ours)))
    for _ in range(3):
        times["twenty at once"]["docker"].append(await timed(sides.many_theirs))
        times["twenty at once"]["mahavishnu"].append(await timed(sides.many_ours))
    return times


def show(times: Mapping[str, Mapping[str, list[float]]]) -> None:
    for what, found in times.items():
        reference = statistics.median(found["docker"])
        for side, seconds in found.items():
            median, least = statistics.median(seconds), min(seconds)
            ratio = f"ratio {median / reference:.2f} (at most {BOUND})"
            print(f"  {what:15} {side:11} {median * 1000:8.1f} ms, least {least * 1000:8.1f} ms   {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with run_daemon(Path(tempfile.mkdtemp(prefix="mvd-", dir="/tmp"))) as daemon:
        image = base_image(daemon)
        home = daemon.root / "home"
        (home / "workspace").mkdir(parents=True)
        (home / "ecosystem.yaml").write_text(SETTINGS.format(image=image))
        os.environ.update(daemon.environ, MAHAVISHNU_STATE_DIR=str(home / "state"))
        version = daemon.client.version()["Version"]
        print(f"containers: {os.cpu_count()} processors, Docker {version}, Python {sys.version.split()[0]}")
        app = load_app(config_dir=home)

        async def run() -> None:
            async with WorkerManager(app) as manager:
                show(await measure(Sides(manager, image, dict(os.environ), home / "workspace"), rounds))
                await manager.close_all()

        trio.run(run)


if __name__ == "__main__":
    main()
