"""A user's corner of the machine: settings with worker types in containers, a workspace, and who uses it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import attrs
import pytest

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import load_app
from tests.real_cli.site import Site

if TYPE_CHECKING:
    from docker import DockerClient

    from mahavishnu_core.models import JSON

INSIDE = "/model"
"""Where a container has the directory of the model's socket."""
RESIDENTS = ("docker-init", "catatonit", "sleep")
"""What is in a container that has nothing to do."""


@attrs.frozen
class Corner(Site):
    """A site whose workers are in containers of a daemon that its environment names."""

    given: Mapping[str, str | None]

    def environ(self, script: str, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        # of the variables that claude's plugin passes on this one names a directory of this machine
        return super().environ(script, {"CLAUDE_CODE_TMPDIR": None, **self.given, **(changes or {})})

    def offer(self, *types: Mapping[str, JSON]) -> None:
        """Have these worker types in the settings; JSON is YAML."""
        (self.config / "ecosystem.yaml").write_text(json.dumps({"workers": types}))

    @asynccontextmanager
    async def manager(self, script: str = "hello") -> AsyncIterator[WorkerManager]:
        """An engine in this process, with the environment of this corner."""
        with _environment(self.environ(script)):
            async with WorkerManager(load_app(config_dir=self.config)) as manager:
                yield manager


@contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environ.keys():
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        yield


def running_in(client: DockerClient, worker_id: str) -> list[str]:
    """The names of all that runs in a worker's container, but for what keeps it up."""
    told = client.containers.get(f"mahavishnu-{worker_id}").exec_run(["ps", "-o", "comm"], user="0:0")
    _, *names = told.output.decode().split()
    return [name for name in names if name not in (*RESIDENTS, "ps")]
