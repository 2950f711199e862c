"""All of contrib/broken at once, beside the good plugins: each fault is named, and the work is done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from mahavishnu_cli.main import Root
from mahavishnu_cli.tree import COMMANDS
from mahavishnu_core import WorkerManager, WorkerResult, WorkerStatus
from mahavishnu_core import host as host_module
from mahavishnu_core.app import App, load_app
from mahavishnu_core.events import Notice, TaskEvent
from mahavishnu_core.host import load_plugins
from mahavishnu_core.testing.environs import MIRRORS_NOTHING
from mahavishnu_core.testing.processes import left_by_test, wait_until_gone
from tests.documents import ROOT, document
from tests.installed import Site, opened

pytestmark = pytest.mark.thorough

KINDS = sorted(path.parent.name for path in ROOT.glob("contrib/broken/*/pyproject.toml"))
PROGRAM = Path(sys.executable).with_name("mahavishnu")
PATIENCE = 60

NOT_LOADED = {
    "import_error": "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    "syntax_error": "SyntaxError: invalid syntax",
    "exits_on_import": "SystemExit: 0",
    "blocks_on_import": "it did not come back for 1 s",
    "stale": "ModuleNotFoundError: No module named 'mahavishnu_broken_stale_moved'",
    "no_api": "it does not say which hooks it was written for",
    "future_api": "it needs a newer mahavishnu-core",
    "wrong_signature": "PluginValidationError: Argument(s) {'colour'} are declared",
    "misspelt_hook": "PluginValidationError: unknown hook 'worker_tpyes'",
    "async_hook": "its store_result is an 'async def'",
    "wrapper_hook": "its worker_types is a hook wrapper",
    "name_taken": "mahavishnu-shell 0.1.0 has taken that name",
}
CUT_OFF = {
    "raises": "not asked for worker_types any more: worker_types failed: RuntimeError: no luck",
    "exits": "not asked for worker_types any more: worker_types failed: SystemExit: 0",
    "blocks": "not asked for worker_types any more: it did not come back for",
    "slow_observer": "not asked for monitor any more: it ",
    "bad_observer": "not asked for monitor any more: monitor failed: RuntimeError: cannot look",
    "command_taken": "PluginError: there is a command 'workers' already",
}
PROBLEMS = {
    "wrong_type": ("int as a worker type", "dict as a worker type", "NoneType as a worker type"),
    "bad_name": ("'../x'", r"'red\x1b[31m'", "'xxxxx", "''"),
    "twin_a": ("worker type 'twin': it is offered by the plugins",),
    "twin_b": ("worker type 'twin': it is offered by the plugins",),
}
STORAGES = {"bad_storage": "OSError: no space left"}
NOTICES = {"bad_parser": "failed in its parser: ValueError: cannot read this"}
HARMLESS = {"printing_observer"}


def source(kind: str) -> str:
    return f"mahavishnu-broken-{kind.replace('_', '-')} 0.1.0"


def plugin(kind: str) -> str:
    return f"broken-{kind.replace('_', '-')}"


def install(site: Site, kind: str) -> None:
    """Lay a distribution out as pip leaves it."""
    folder = ROOT / "contrib/broken" / kind
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["mahavishnu"]
    entries = "\n".join(["[mahavishnu]", *(f"{name} = {value}" for name, value in points.items())])
    site.add(project["name"], project["version"], entries)
    for module in folder.glob("*.py"):
        shutil.copy(module, site.path)


@attrs.frozen
class Outcome:
    """What came of an engine with all of them."""

    app: App
    good: WorkerResult
    bad: WorkerResult
    """Of the type whose parser is broken."""
    stored: tuple[str, ...]
    storage_failures: dict[str, set[str]]
    notices: tuple[str, ...]

    def refused(self, kind: str) -> list[str]:
        return [str(each) for each in self.app.host.refused if each.source == source(kind)]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One engine with everything loaded: a good task, and one of the type with the bad parser."""
    home = tmp_path_factory.mktemp("broken")
    environ = {**os.environ, "HOME": str(home), "MAHAVISHNU_STATE_DIR": str(home / "state")}
    environ = {key: value for key, value in environ.items() if key != "XDG_CONFIG_HOME"}
    with pytest.MonkeyPatch.context() as patch, opened(home / "site") as site:
        patch.setattr(host_module, "IMPORT_LIMIT", 1.0)
        for kind in KINDS:
            install(site, kind)
        host = load_plugins({})
        host.all("register_commands", cli=Root(commands={each.name or "": each for each in COMMANDS}))
        yield trio.run(work, load_app(environ=environ, host=host))
        for name in [name for name in sys.modules if name.startswith("mahavishnu_broken_")]:
            del sys.modules[name]
    assert wait_until_gone(partial(left_by_test, home), seconds=8) == []


async def work(app: App) -> Outcome:
    seen: list[TaskEvent] = []
    with trio.fail_after(PATIENCE):
        async with WorkerManager(app) as manager:
            manager.observe(seen.append)
            good, bad = [
                await manager.execute_task(worker_id, "echo still here")
                for kind in ("shell", "bad-parser")
                for worker_id in await manager.spawn_workers(kind)
            ]
            (task,) = app.state.tasks(good.worker_id)
            stored = [
                name for name in app.host.implementers("store_result") if app.state.is_stored(task, name)
            ]
            failures: dict[str, set[str]] = {}
            for failure in manager.storage_failures:
                failures.setdefault(failure.storage, set()).add(failure.error)
    notices = tuple(item.event.text for item in seen if isinstance(item.event, Notice))
    return Outcome(app, good, bad, tuple(stored), failures, notices)


def test_every_kind_of_fault_has_its_outcome_in_this_file() -> None:
    tables = [NOT_LOADED, CUT_OFF, PROBLEMS, STORAGES, NOTICES, HARMLESS]
    assert sorted(kind for table in tables for kind in table) == KINDS


def test_every_kind_is_in_the_readme() -> None:
    page = document("contrib/broken/README.md")
    assert [kind for kind in KINDS if f"[{kind}]({kind})" not in page.text] == []


def test_a_good_task_completes_and_is_stored(outcome: Outcome) -> None:
    assert (outcome.good.status, outcome.good.output) == (WorkerStatus.COMPLETED, "still here")
    assert outcome.stored == ("sqlite",)


@pytest.mark.parametrize("kind", NOT_LOADED)
def test_one_that_cannot_be_loaded_is_named_on_one_line(outcome: Outcome, kind: str) -> None:
    (line,) = outcome.refused(kind)
    assert f"({source(kind)}) not loaded: " in line
    assert NOT_LOADED[kind] in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("kind", CUT_OFF)
def test_one_that_fails_in_a_hook_is_named_on_one_line(outcome: Outcome, kind: str) -> None:
    (line,) = outcome.refused(kind)
    assert CUT_OFF[kind] in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("kind", ["blocks_on_import", "blocks", "slow_observer"])
def test_one_that_blocks_is_named_with_its_stack(outcome: Outcome, kind: str) -> None:
    (blocked,) = [each for each in outcome.app.host.blocked if each.source == source(kind)]
    assert "time.sleep(10**6)" in blocked.stack


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_is_wrong_with_the_types_of_one_is_told_on_one_line_each(outcome: Outcome, kind: str) -> None:
    lines = [line for line in outcome.app.catalog.problems if repr(plugin(kind)) in line]
    assert [words for words in PROBLEMS[kind] if not any(words in line for line in lines)] == []
    assert len(lines) == len(PROBLEMS[kind])
    assert all(line.isprintable() and len(line) < 300 for line in lines)


def test_a_storage_that_keeps_nothing_is_named(outcome: Outcome) -> None:
    ((kind, words),) = STORAGES.items()
    assert list(outcome.storage_failures) == [plugin(kind)]
    (error,) = outcome.storage_failures[plugin(kind)]
    assert source(kind) in error
    assert words in error


def test_a_parser_that_raises_is_named_and_fails_its_own_task(outcome: Outcome) -> None:
    ((kind, words),) = NOTICES.items()
    assert (outcome.bad.status, outcome.bad.metadata["reason"]) == (WorkerStatus.FAILED, "no_result")
    (notice,) = outcome.notices
    assert f"plugin '{plugin(kind)}' ({source(kind)}) {words}" in notice


def test_the_good_plugins_are_loaded_and_none_of_them_is_named(outcome: Outcome) -> None:
    loaded = {each.name for each in outcome.app.host.loaded if not each.name.startswith("broken-")}
    assert {"core", "shell", "claude", "qwen", "sqlite"} <= loaded
    named = [each.source for each in (*outcome.app.host.refused, *outcome.app.host.blocked)]
    assert [each for each in named if not each.startswith("mahavishnu-broken-")] == []


# --- as a program


@attrs.frozen
class Installed:
    """The program with all of them installed but the one that blocks every start for ten seconds."""

    environ: dict[str, str]
    work: Path

    def run(self, *command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        variables = self.environ | environ
        return subprocess.run(
            command, env=variables, cwd=self.work, capture_output=True, text=True, timeout=PATIENCE
        )


@pytest.fixture
def installed(tmp_path: Path, nothing_left: None) -> Installed:
    site = Site(tmp_path / "site")
    site.path.mkdir()
    for kind in KINDS:
        if kind != "blocks_on_import":
            install(site, kind)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MAHAVISHNU_")}
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "work").mkdir()
    state = {"MAHAVISHNU_STATE_DIR": str(tmp_path / "state"), "PYTHONPATH": str(site.path)}
    return Installed(environ | home | state | MIRRORS_NOTHING, tmp_path / "work")


def test_the_program_does_its_work_and_names_each(installed: Installed) -> None:
    ran = installed.run(PROGRAM, "workers", "execute", "-t", "shell", "-n", "1", "-p", "echo still here")
    assert ran.returncode == 4, ran.stderr  # what bad_storage could not keep
    assert "still here" in ran.stdout
    assert "an observer was here" in ran.stderr
    assert "an observer was here" not in ran.stdout
    assert "Traceback" not in ran.stderr
    loud = set(KINDS) - {"blocks_on_import", "command_taken", *HARMLESS, *NOTICES}
    assert [kind for kind in loud if not _is_named(kind, ran.stderr)] == []
    assert ran.stderr.count("time.sleep(10**6)") == 2


def _is_named(kind: str, said: str) -> bool:
    if kind in PROBLEMS or kind in STORAGES:
        return repr(plugin(kind)) in said
    return said.count(f"({source(kind)}) not ") == 1


def test_the_program_lists_its_commands(installed: Installed) -> None:
    ran = installed.run(PROGRAM, "--help")
    assert ran.returncode == 0
    assert ran.stderr.count(f"({source('command_taken')}) not asked for register_commands any more") == 1


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        ([sys.executable, "-m", "mahavishnu_core", "plugins"], {}),
        ([PROGRAM, "--no-plugins", "workers", "list"], {}),
        ([PROGRAM, "workers", "list"], {"MAHAVISHNU_PLUGINS": "shell,sqlite"}),
        (
            [PROGRAM, "workers", "execute", "-t", "shell", "-n", "1", "-p", "echo still here"],
            {"MAHAVISHNU_PLUGINS": "shell,sqlite"},
        ),
    ],
    ids=["python -m mahavishnu_core", "--no-plugins", "MAHAVISHNU_PLUGINS", "MAHAVISHNU_PLUGINS, a task"],
)
def test_the_ways_out_work(installed: Installed, command: list[str | Path], environ: dict[str, str]) -> None:
    ran = installed.run(*command, **environ)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    if "execute" in command:
        assert "still here" in ran.stdout
    if "mahavishnu_core" in command:
        loadable = [kind for kind in NOT_LOADED if kind != "blocks_on_import"]
        assert [kind for kind in loadable if f"({source(kind)}) not loaded: " not in ran.stdout] == []
