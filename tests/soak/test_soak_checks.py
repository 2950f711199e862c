"""The checks of a soak find what they are there for."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio

from mahavishnu_core.testing.processes import left_by_test, wait_until_gone
from tests.faults.site import CLEAN_WITHIN, Site

from .checks import Scene, faults
from .engines import Engine, start
from .journal import Journal
from .load import Given, worker_types
from .series import KeeperSeries, Sample

pytestmark = pytest.mark.whole
PROMPT = 'echo "$MAHAVISHNU_TASK" >> {}; echo token-1-end'


async def finished(site: Site, printed: Path, given: Given) -> Engine:
    engine = await start(site, printed, 1, given)
    await engine.process.wait()
    return engine


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two tasks that are over, with all that is known of them."""
    root = tmp_path_factory.mktemp("scene")
    starts = root / "starts"
    site = Site(root / "site")
    site.types(*worker_types(starts))
    (root / "printed").mkdir()
    words = ("workers", "execute", "-t", "shell", "-n", "2", "--json", "-p", PROMPT.format(starts))
    engine = trio.run(finished, site, root / "printed", Given(words, "json"))
    with (root / "journal.jsonl").open("w") as file:
        journal = Journal(file)
        assert [*engine.faults(), *journal.listen(engine)] == []
        journal.look(site.app.state)
        yield Scene(site, journal, starts, ("canary-1",), root / "printed")
    assert wait_until_gone(lambda: left_by_test(root), CLEAN_WITHIN) == []


@pytest.fixture
def copy(scene: Scene, tmp_path: Path) -> Scene:
    """The same, to be broken."""
    root, site = tmp_path / "copy", Site(tmp_path / "copy/site")
    sockets = shutil.ignore_patterns("*.sock")
    shutil.copytree(scene.site.root.parent, root, ignore=sockets, dirs_exist_ok=True)
    return attrs.evolve(scene, site=site, starts=root / "starts", printed=root / "printed")


def test_where_all_is_well_nothing_is_found(copy: Scene) -> None:
    assert list(faults(copy)) == []


def first(copy: Scene) -> Path:
    """The directory of a task."""
    return min(copy.site.state.glob("workers/*/tasks/*"))


def change_result(copy: Scene) -> None:
    path = first(copy) / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed"}))


def in_database(statement: str) -> Callable[[Scene], None]:
    def change(copy: Scene) -> None:
        with closing(sqlite3.connect(copy.site.state / "results.sqlite3")) as connection:
            connection.execute(statement)
            connection.commit()

    return change


BREAKAGES: dict[str, tuple[Callable[[Scene], object], str]] = {
    "a task is lost": (lambda copy: shutil.rmtree(first(copy)), "acknowledged and is not there"),
    "a task has no end": (lambda copy: (first(copy) / "result.json").unlink(), "it has no result"),
    "a result has changed": (change_result, "it has another result than it had"),
    "a result is not the printed one": (change_result, "an engine has printed another result"),
    "a result is half": (lambda copy: (first(copy) / "result.json").write_text("{"), "it has no result"),
    "an exit is half": (lambda copy: (first(copy) / "exit.json").write_text("{"), "exit.json: Expecting"),
    "a task ran twice": (
        lambda copy: copy.starts.write_text(copy.starts.read_text() * 2),
        "it was started 2 times",
    ),
    "nobody ran it": (lambda copy: copy.starts.unlink(), "is completed and was never started"),
    "a row is lost": (in_database("DELETE FROM results WHERE id = 1"), "it is stored 0 times"),
    "a row is another's": (
        in_database("UPDATE results SET output = 'token-2-end' WHERE id = 1"),
        "stored is output = 'token-2-end'",
    ),
    "its words are not found": (
        in_database("INSERT INTO results_text (results_text) VALUES ('delete-all')"),
        "its words are not those",
    ),
    "a secret is kept": (
        lambda copy: (copy.site.state / "debug.jsonl").write_text("canary-1"),
        "it holds ['canary-1']",
    ),
    "a secret is printed": (lambda copy: (copy.printed / "x").write_text("canary-1"), "it holds"),
    "a terminal obeys": (lambda copy: (copy.printed / "x").write_text("\x1b[2J"), "printed/x"),
    "the keeper complains": (
        lambda copy: (copy.site.state / "keeper.log").write_text("oh"),
        "the keeper's log",
    ),
}


@pytest.mark.parametrize(("breaks", "words"), BREAKAGES.values(), ids=BREAKAGES)
def test_what_is_wrong_is_found(copy: Scene, breaks: Callable[[Scene], object], words: str) -> None:
    breaks(copy)
    assert [fault for fault in faults(copy) if words in fault] != []


def test_a_keeper_that_grows_is_found(tmp_path: Path) -> None:
    series = KeeperSeries(tmp_path)
    series.samples[1] = [Sample(2.0 * number, 20 + number % 7, 9000) for number in range(60)]
    assert list(series.faults()) == []
    series.samples[2] = [Sample(2.0 * number, 20 + number, 9000 + 50 * number) for number in range(60)]
    assert [fault.partition(" grow")[0] for fault in series.faults()] == [
        "keeper 2: its descriptors",
        "keeper 2: its kilobytes",
    ]


async def test_an_exit_status_that_nobody_caused_is_a_fault(tmp_path: Path) -> None:
    engine = await finished(Site(tmp_path / "site"), tmp_path, Given(("--no-such-option",)))
    assert ["exit status 2" in fault for fault in engine.faults()] == [True]
