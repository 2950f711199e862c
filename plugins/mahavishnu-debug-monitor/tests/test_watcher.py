"""Debug monitors as they run, whatever happens to the window, the watcher, the log, the keeper or us."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import trio

from mahavishnu_core import WorkerManager, WorkerStatus
from mahavishnu_core.app import App
from mahavishnu_core.debug_log import path_in
from mahavishnu_core.errors import MahavishnuError, MissingError

from .scripted_iterm2 import ScriptedIterm2, scripted_iterm2
from .standing import Monitor, monitoring, set_options

pytestmark = pytest.mark.window


def tmux(monitor: Monitor, *words: str) -> str:
    """What its tmux answers; nothing where that is gone."""
    command = ["tmux", "-L", f"mahavishnu-{monitor.worker_id}", *words]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture(params=["tmux", "none"])
def window(request: pytest.FixtureRequest, tmux_directory: Path) -> str:
    return str(request.param)


async def test_what_is_logged_is_shown_and_recorded_until_it_is_closed(
    app: App, window: str, tmp_path: Path
) -> None:
    async with monitoring(app, window, tmp_path) as monitor:
        (report,) = monitor.manager.monitor_workers()
        assert report.status is WorkerStatus.RUNNING
        monitor.say("one", "two")
        await monitor.hear("one", "two")
        if window == "tmux":
            assert '"words": "two"' in tmux(monitor, "capture-pane", "-p")
            assert "attach with 'tmux -L mahavishnu-" in monitor.notices()["window"]
        else:
            assert f"-F {path_in(app.state.root)}" in monitor.notices()["window"]
        monitor.say("three")  # within the second before the next look
        result = await monitor.close()
        assert monitor.said() == ["one", "two", "three"]
        assert (result.status, result.error) == (WorkerStatus.CANCELLED, "cancelled")
        assert not monitor.is_shown()


async def test_a_window_that_its_user_closes_is_a_cancelled_worker(
    app: App, tmux_directory: Path, tmp_path: Path
) -> None:
    async with monitoring(app, "tmux", tmp_path) as monitor:
        monitor.say("one")
        await monitor.hear("one")
        tmux(monitor, "kill-session")
        result = await monitor.ended()
        assert (result.status, result.error) == (WorkerStatus.CANCELLED, "its window was closed")
        assert monitor.notices()["gone"] == "its window was closed"


async def test_a_watcher_that_is_killed_leaves_no_window(app: App, window: str, tmp_path: Path) -> None:
    async with monitoring(app, window, tmp_path) as monitor:
        monitor.say("one")
        await monitor.hear("one")
        await monitor.kill(monitor.watcher)
        result = await monitor.ended()
        assert (result.status, result.error) == (WorkerStatus.FAILED, "its watcher was lost")
        assert not monitor.is_shown()
        assert monitor.said() == ["one"]


async def test_it_outlives_its_engine_and_its_keeper(app: App, window: str, tmp_path: Path) -> None:
    async with monitoring(app, window, tmp_path) as monitor:
        await monitor.kill_keeper()
        async with WorkerManager(app) as other:
            await other.recover()
            (report,) = other.monitor_workers()
            assert report.status is WorkerStatus.RUNNING
            monitor.say("still here")
            await monitor.hear("still here")
            await other.close_worker(monitor.worker_id)
        assert not monitor.is_shown()


async def test_a_log_that_is_set_aside_is_followed_in_its_new_file(
    app: App, window: str, tmp_path: Path
) -> None:
    async with monitoring(app, window, tmp_path) as monitor:
        monitor.say("one")
        await monitor.hear("one")
        log = path_in(app.state.root)
        log.rename(f"{log}.1")
        monitor.say("two")
        await monitor.hear("one", "two")


async def test_lines_have_numbers_without_gap_or_repetition(app: App, window: str, tmp_path: Path) -> None:
    async with monitoring(app, window, tmp_path) as monitor:
        words = [f"{number} {'x' * (number % 400)}" for number in range(3000)]
        for start in range(0, 3000, 100):
            monitor.say(*words[start : start + 100])
            await trio.sleep(0.02)
        await monitor.hear(*words)
        records = map(json.loads, (monitor.task.directory / "stdout.jsonl").read_text().splitlines())
        numbers = [record["number"] for record in records if record["type"] == "line"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert "missing" not in monitor.notices()


async def test_with_wrong_settings_lines_are_still_recorded_and_it_is_said(
    app: App, tmux_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "project/.mahavishnu").mkdir(parents=True)
    (tmp_path / "project/.mahavishnu/mahavishnu.yaml").write_text("no_such_key: 1\n")
    async with monitoring(app, "none", tmp_path / "project") as monitor:
        monitor.say("one")
        await monitor.hear("one")
        assert "every storage cannot: " in monitor.notices()["stored"]
        assert "no_such_key" in monitor.notices()["stored"]


async def test_it_asks_for_no_window_that_is_not_to_be_had(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for window, words in (("tmux", "tmux is not installed"), ("iterm2", "iTerm2 does not run")):
        async with WorkerManager(set_options(app, window=window)) as manager:
            with pytest.raises(MissingError, match=words):
                await manager.spawn_workers("debug-monitor", repo=tmp_path)
            assert manager.app.state.workers() == []


async def test_a_tmux_that_does_not_start_is_told_of_and_there_is_no_window_then(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin/tmux"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'no room for a server' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent), prepend=":")
    async with monitoring(app, "auto", tmp_path) as monitor:
        assert "in no window" in monitor.notices()["window"]
        assert "tmux: " in monitor.notices()["window"]
        assert "no room for a server" in monitor.notices()["window"]
    async with WorkerManager(set_options(app, window="tmux")) as manager:
        with pytest.raises(MahavishnuError, match="no room for a server"):
            await manager.spawn_workers("debug-monitor", repo=tmp_path)
        assert manager.app.state.workers() == []


# --- in iTerm2


@pytest.fixture
async def iterm2(monkeypatch: pytest.MonkeyPatch, tmux_directory: Path):
    """One that is scripted, and found where it lies by whoever is started now."""
    async with scripted_iterm2(width=200, height=50) as iterm2:
        for name, value in iterm2.environ.items():
            monkeypatch.setenv(name, value)
        yield iterm2


async def test_iterm2_is_used_where_it_lets_one_in(app: App, iterm2: ScriptedIterm2, tmp_path: Path) -> None:
    iterm2.profiles.add("Night")
    async with monitoring(app, "auto", tmp_path, profile="Night") as monitor:
        assert "in iTerm2" in monitor.notices()["window"]
        monitor.say("one", "x" * 500)
        await monitor.hear("one", "x" * 500)
        assert iterm2.only.profile == "Night"
        result = await monitor.close()
        assert (result.status, result.error) == (WorkerStatus.CANCELLED, "cancelled")
        assert not iterm2.open_sessions


async def test_a_window_of_iterm2_that_its_user_closes_is_a_cancelled_worker(
    app: App, iterm2: ScriptedIterm2, tmp_path: Path
) -> None:
    async with monitoring(app, "auto", tmp_path) as monitor:
        await iterm2.close_by_hand(iterm2.only)
        result = await monitor.ended()
        assert (result.status, result.error) == (WorkerStatus.CANCELLED, "its window was closed")


async def test_an_iterm2_that_quits_is_a_cancelled_worker(
    app: App, iterm2: ScriptedIterm2, tmp_path: Path
) -> None:
    async with monitoring(app, "auto", tmp_path) as monitor:
        await iterm2.quit()
        result = await monitor.ended()
        assert (result.status, result.error) == (WorkerStatus.CANCELLED, "iTerm2 has quit")


async def test_where_iterm2_refuses_it_is_tmux_and_said_why(
    app: App, iterm2: ScriptedIterm2, tmp_path: Path
) -> None:
    async with monitoring(app, "auto", tmp_path, profile="Nigth") as monitor:
        assert "in tmux" in monitor.notices()["window"]
        assert "iTerm2: it has no profile 'Nigth'" in monitor.notices()["window"]
        monitor.say("one")
        await monitor.hear("one")
