"""The plugin of docs/plugins.md, installed as its pyproject.toml says and put to work."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import App, load_app
from mahavishnu_core.events import Finished, Raw, Text, ToolCall
from mahavishnu_core.stream import StreamReader
from tests.documents import document

GUIDE = document("docs/plugins.md")
PROJECT = tomllib.loads(GUIDE.blocks("toml")[0])
PLUGIN, PARSER = GUIDE.blocks("python")[:2]
MOST_LINES = 25


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> Iterator[App]:
    """An app with the example among its plugins, on a state directory of its own."""
    [(_, module)] = PROJECT["project"]["entry-points"]["mahavishnu"].items()
    _install(tmp_path / "site", module)
    monkeypatch.syspath_prepend(tmp_path / "site")
    environ = {**os.environ, "MAHAVISHNU_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    environ.pop("XDG_CONFIG_HOME", None)
    yield load_app(environ=environ)
    sys.modules.pop(module, None)


def _install(site: Path, module: str) -> None:
    """Lay the example out as pip leaves it."""
    name = PROJECT["project"]["name"].replace("-", "_")
    info = site / f"{name}-{PROJECT['project']['version']}.dist-info"
    info.mkdir(parents=True)
    points = PROJECT["project"]["entry-points"]["mahavishnu"]
    lines = ["[mahavishnu]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (site / f"{module}.py").write_text(PLUGIN)


async def test_the_example_plugin_carries_out_a_task(app: App) -> None:
    async with WorkerManager(app) as manager:
        [worker_id] = await manager.spawn_workers("python")
        result = await manager.execute_task(worker_id, "print(6 * 7)")
    assert (result.is_success(), result.output) == (True, "42")


async def test_the_example_plugin_tells_of_a_failure(app: App) -> None:
    async with WorkerManager(app) as manager:
        [worker_id] = await manager.spawn_workers("python")
        result = await manager.execute_task(worker_id, "raise SystemExit('no such thing')")
    assert (result.metadata["reason"], result.error) == ("exit_status", "no such thing")


def test_the_example_plugin_is_as_short_as_promised() -> None:
    assert len([line for line in PLUGIN.splitlines() if line.strip()]) <= MOST_LINES


def test_the_example_depends_on_this_version_of_the_core() -> None:
    own = tomllib.loads((document("pyproject.toml").path).read_text())["project"]["version"]
    major, minor, _ = own.split(".")
    assert PROJECT["project"]["dependencies"] == [
        f"mahavishnu-core>={major}.{minor},<{major}.{int(minor) + 1}"
    ]


def test_the_example_parser_reads_its_agent() -> None:
    names: dict[str, type] = {}
    exec(PARSER, names)
    reader = StreamReader(names["RobotParser"](), "stream-json")
    lines = [
        b'{"say": "hello"}',
        b'{"use": "arm", "with": {"x": 1}}',
        b'{"what": 1}',
        b'{"end": "done", "ok": true}',
    ]
    assert reader.feed(b"\n".join(lines) + b"\n") == [
        Text("hello"),
        ToolCall("", "arm", {"x": 1}),
        Raw({"what": 1}),
        Finished(True, text="done"),
    ]
