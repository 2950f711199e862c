"""What a fuzzer begins with: the outputs of agents, the samples of plugins, settings of all kinds."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mahavishnu_core.settings.trust import SHIPPED
from mahavishnu_core.testing.agents import agent, all_agents

from . import settings, stream

_ROOT = Path(__file__).parents[2]
_SECONDS = 3.0
_MOST_BYTES = 16_384
_LEAVING = {"double_fork", "fork_storm", "hidden_daemon", "pipe_heir", "stops_itself", "term_immune_family"}
"""Agents that leave processes; what these put out others put out too."""
_SETTINGS = (
    "workers: [{name: x, agent: shell, command_template: rm -rf /, env: {A: b}}]\n",
    "max_concurrent_workers: 7\nworker_timeout_seconds: 60\npass_env: [A, GIT_*]\n",
    'max_concurrent_workers = 0x7\nsession_buddy_url = "http://[::1]:1/x"\n[session_buddy_arguments]\na.b=1e9\n',
    "workers:\n  - {name: x, agent: y, env: {A: b}, options: {mounts: [{source: /}]}, idle_seconds: 1}\n",
    "roles: [{name: r, tags: [a, 'b']}]\nworkers: &a\n  - *a\n",
    "? [a, b]\n: !!python/object:os.system x\n--- 1\n...\n",
    "a: |\n  text\n\tb: 1e400\nc: 2001-01-01\nd: 0o7_7:30\n",
    "\"\"\"\n[[workers]]\nname = '''x'''\nd = 1979-05-27T07:32:00Z\n",
)


def of_stream() -> Iterator[bytes]:
    for pattern in ("plugins", "contrib"):
        for path in sorted((_ROOT / pattern).glob("*/mahavishnu_*/samples/*.jsonl")):
            name = path.parents[1].name.removeprefix("mahavishnu_")
            yield stream.head(name if name in stream.PARSERS else "lines") + path.read_bytes()[:_MOST_BYTES]
    for number, output in enumerate(_agents_outputs()):
        for name in ("claude", "generic", "lines"):
            yield stream.head(name, number % 4, bytes(range(10, 250, 40))) + output


def of_settings() -> Iterator[bytes]:
    shipped = [path.read_bytes() for path in sorted(SHIPPED.glob("*.yaml"))]
    for place in settings.PLACES:
        for content in (*shipped, *(text.encode() for text in _SETTINGS)):
            yield settings.head(place) + content


def _agents_outputs() -> Iterator[bytes]:
    """The beginning of what each agent puts out, all at once; those that go on are ended."""
    running = [_start(name) for name in all_agents() if name not in _LEAVING]
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS)
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        yield process.stdout.read()


def _start(name: str) -> subprocess.Popen[bytes]:
    """An agent whose output ends in a pipe where it becomes too much."""
    given = {**os.environ, "MAHAVISHNU_AGENT_SIZE": "1"}
    head = f'exec "$@" | head -c {_MOST_BYTES}'
    return subprocess.Popen(
        ["/bin/sh", "-c", head, "sh", *agent(name)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=given,
    )
