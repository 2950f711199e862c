"""Section G of the fault matrix: plugins that are broken, beside those that are not."""

from __future__ import annotations

import json

import pytest

from mahavishnu_core import WorkerStatus
from tests.installed import Site as Packages

from .site import Ran, Site

HEAD = "from mahavishnu_core import Command, WorkerType, hookimpl\nHOOK_API = 1\n"
ACME = "(acme-acme 1.2)"
"""The distribution of the plugin ``acme``."""


@pytest.fixture
def packages(site: Site) -> Packages:
    """Where a test installs plugins of its own."""
    packages = Packages(site.root / "packages")
    packages.path.mkdir()
    site.more["PYTHONPATH"] = str(packages.path)
    return packages


def named(ran: Ran, words: str) -> int:
    """How often a plugin was named with these words, each time on one line, and no traceback anywhere."""
    assert "Traceback" not in ran.err
    return sum(words in line for line in ran.err.splitlines())


# --- loading

ENDS = ["exits", "is cancelled"]
NOT_LOADED = {
    "import nowhere\n": "not loaded: ModuleNotFoundError: No module named 'nowhere'",
    "raise SystemExit(0)\n": "not loaded: SystemExit: 0",
    "import asyncio\nraise asyncio.CancelledError\n": "not loaded: CancelledError",
    None: "not loaded: ModuleNotFoundError: No module named 'moved_away'",
}


@pytest.mark.parametrize("code", NOT_LOADED, ids=["import fails", *ENDS, "is not there"])
def test_g1_a_plugin_that_cannot_be_imported_is_named_and_missed_only_where_it_is_needed(
    site: Site, packages: Packages, code: str | None
) -> None:
    if code is None:
        packages.add("acme-acme", "1.2", "[mahavishnu]\nacme = moved_away\n")
    else:
        packages.install("acme", code)
    site.types({"name": "mine", "agent": "acme", "command_template": "cat", "progress_tracking": "lines"})
    ran = site.execute("shell", prompt="echo done")
    assert (ran.status, ran.result.output) == (0, "done")
    assert named(ran, f"plugin 'acme' {ACME} {NOT_LOADED[code]}") == 1
    needed = site.execute("mine")
    assert (needed.status, needed.out) == (3, "")
    assert named(needed, "mahavishnu: worker type 'mine' is not available: ") == 1
    reason = NOT_LOADED[code].removeprefix("not loaded: ")
    assert named(needed, f"it needs the agent 'acme', whose plugin was not loaded: {reason}") == 1
    listed = json.loads(site.run("plugins", "list", "--json").out)["plugins"]
    told = {each["name"]: (each["state"], each["distribution"]) for each in listed}
    assert (told["acme"], told["shell"][0]) == (("refused", "acme-acme"), "loaded")


WRONG = {
    "@hookimpl\ndef spawn(worker, colour): ...\n": "Argument(s) {'colour'} are declared in the hookimpl",
    "@hookimpl\ndef worker_tpyes(): ...\n": "unknown hook 'worker_tpyes'",
    "@hookimpl\nasync def store_result(task): ...\n": "its store_result is an 'async def'",
}


@pytest.mark.parametrize("code", WRONG, ids=["signature", "misspelt", "async"])
def test_g2_a_hook_that_does_not_fit_is_refused_when_it_is_loaded(
    site: Site, packages: Packages, code: str
) -> None:
    packages.install(
        "acme", HEAD + code + "@hookimpl\ndef worker_types():\n    print('asked')\n    return []\n"
    )
    ran = site.execute("shell", prompt="echo done")
    assert (ran.status, ran.result.output) == (0, "done")
    assert named(ran, f"plugin 'acme' {ACME} not loaded: ") == named(ran, WRONG[code]) == 1
    assert "asked" not in ran.err, "nothing of it is called"


# --- calling

FAILING = {
    "raise RuntimeError('no luck')": "worker_types failed: RuntimeError: no luck",
    "raise SystemExit(0)": "worker_types failed: SystemExit: 0",
    "raise GeneratorExit": "worker_types failed: GeneratorExit",
    "return [7]": "offers int as a worker type",
    "return 7": "offers int as a worker type",
}


@pytest.mark.parametrize("does", FAILING)
def test_g3_a_hook_that_fails_is_named_once_and_the_others_are_asked(
    site: Site, packages: Packages, does: str
) -> None:
    packages.install("acme", f"{HEAD}@hookimpl\ndef worker_types():\n    {does}\n")
    packages.install("zebra")
    ran = site.execute("shell", prompt="echo done", count=2)
    assert (ran.status, [result.output for result in ran.results]) == (0, ["done"] * 2)
    assert named(ran, FAILING[does]) == named(ran, "'acme'") == 1
    assert "zebra-type" in site.run("workers", "types").out


def test_g3_a_storage_that_fails_is_named_for_each_result_and_the_other_has_them(
    site: Site, packages: Packages
) -> None:
    packages.install("acme", f"{HEAD}@hookimpl\ndef store_result(task):\n    raise OSError('no room')\n")
    ran = site.execute("shell", prompt="echo done", count=2)
    assert (ran.status, [result.output for result in ran.results]) == (4, ["done"] * 2)
    assert named(ran, "storage 'acme' could not keep the result of task") == named(ran, ACME) == 2
    assert len(site.stored("done")) == 2
    del site.more["PYTHONPATH"]
    assert site.run("results", "sync").status == 0, "nobody lacks them any more"


EXITS = """
import asyncio, sys
import trio

async def keep():
    await trio.lowlevel.checkpoint()
    {end}

@hookimpl
def store_result(task):
    return keep()
"""


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise asyncio.CancelledError"])
def test_g3_a_storage_that_would_end_the_program_is_named_and_the_other_has_the_results(
    site: Site, packages: Packages, end: str
) -> None:
    packages.install("acme", HEAD + EXITS.format(end=end))
    ran = site.execute("shell", prompt="echo done")
    assert (ran.status, ran.result.output) == (4, "done")
    batch = site.batch({"worker_type": "shell", "prompt": "echo done"})
    assert (batch.status, batch.result.output) == (4, "done")
    for said in (ran, batch, site.run("results", "sync")):
        assert said.status == 4
        assert named(said, "storage 'acme' could not keep the result of task") >= 1
        assert named(said, f"plugin 'acme' {ACME} failed in store_result: ") >= 1
    listed = site.run("workers", "list")
    assert ran.result.worker_id in listed.out
    assert named(listed, ACME) >= 1
    assert len(site.stored("done")) == 2
    del site.more["PYTHONPATH"]
    assert site.run("results", "sync").status == 0, "nobody lacks them any more"


def test_g4_a_hook_that_blocks_is_named_with_its_stack_and_left_out(site: Site, packages: Packages) -> None:
    blocks = "import time\ndef block_here():\n    time.sleep(10**6)\n"
    packages.install("acme", f"{HEAD}{blocks}@hookimpl\ndef worker_types():\n    block_here()\n")
    packages.install("watch", f"{HEAD}{blocks}@hookimpl\ndef monitor(event):\n    block_here()\n")
    ran = site.execute("shell", prompt="for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert (ran.status, ran.result.output) == (0, "1\n2\n3")
    assert ran.seconds < 15, "it does not wait for either"
    assert named(ran, "plugin 'acme' (acme-acme 1.2) had not come back from worker_types after 1 s") == 1
    assert named(ran, "not asked for worker_types any more: it did not come back for 2 s") == 1
    assert named(ran, "plugin 'watch' (acme-watch 1.2)") >= 1
    assert ran.err.count("in block_here") == 2


def test_g5_no_hook_changes_an_event_or_speaks_among_the_results(site: Site, packages: Packages) -> None:
    changes = "    print('NOISE', flush=True)\n    event.event.text = 'forged'\n"
    packages.install("acme", f"{HEAD}print('NOISE')\n@hookimpl\ndef monitor(event):\n{changes}")
    ran, lines = site.events("-t", "shell", "-p", "echo one; echo two")
    assert ran.status == 0
    assert [line["text"] for line in lines if line["type"] == "text"] == ["one", "two"]
    assert lines[-1]["output"] == "one\ntwo"
    assert "NOISE" not in ran.out
    assert ran.err.count("NOISE") == 2
    assert named(ran, "'acme'") == named(ran, "monitor failed: AttributeError: immutable type") == 1


FORGES = """
import queue
forged = queue.SimpleQueue()

@hookimpl
def monitor(event):
    data = event.event.data
    data["type"] = data["deep"]["word"] = "forged"
    forged.put(event.seq)
"""
LOOKS_AFTERWARDS = """
import {forger}

@hookimpl
def monitor(event):
    {forger}.forged.get(timeout=1)
    print("saw", event.event.data)
"""
ODD = {"type": "odd", "deep": {"word": "true"}}


def test_g5_no_hook_changes_the_data_in_an_event(site: Site, packages: Packages) -> None:
    site.types({"name": "mine", "agent": "generic", "command_template": "cat"})
    forger = packages.install("acme", HEAD + FORGES)
    packages.install("watch", HEAD + LOOKS_AFTERWARDS.format(forger=forger))
    ran, lines = site.events("-t", "mine", "-p", "\n".join([json.dumps(ODD)] * 3))
    assert [line["data"] for line in lines if line["type"] == "raw"] == [ODD] * 3
    assert ran.err.count(f"saw {ODD}") == 3
    assert "forged" not in ran.out + ran.err


# --- names


def test_g6_a_name_that_two_plugins_offer_is_used_from_neither(site: Site, packages: Packages) -> None:
    twin = f"{HEAD}@hookimpl\ndef worker_types():\n    return [WorkerType('twin', 'shell')]\n"
    packages.install("acme", twin)
    packages.install("zebra", twin)
    ran = site.execute("shell", prompt="echo done")
    assert (ran.status, ran.result.output) == (0, "done")
    asked = site.execute("twin")
    assert ran.err.count("worker type 'twin'") == 1
    assert (asked.status, asked.out) == (3, "")
    assert "'acme' and 'zebra'" in asked.err
    assert named(asked, "worker type 'twin' is not available") == 1


NAMES = ["../x", "\x1b[31mred", "x" * 10_000, ""]


def test_g6_a_name_that_cannot_be_is_not_used(site: Site, packages: Packages) -> None:
    offers = f"return [WorkerType(name, 'shell') for name in {NAMES!r}]"
    packages.install("acme", f"{HEAD}@hookimpl\ndef worker_types():\n    {offers}\n")
    ran = site.execute("shell", prompt="echo done")
    assert (ran.status, ran.result.output) == (0, "done")
    assert named(ran, "plugin 'acme' offers a worker type ") == len(NAMES)
    assert ran.err.replace("\n", "").isprintable()
    assert max(map(len, ran.err.splitlines())) < 300
    for name in NAMES:
        asked = site.execute(name)
        assert (asked.status, asked.out) == (2, ""), name


# --- agents

AGENT = """
import time

@hookimpl
def worker_types():
    return [WorkerType("acme", "acme", timeout_seconds={limit}, progress_tracking="lines")]

class Parser:
    def feed(self, lines):
        {feed}
        return []

    def end(self, exit, stderr):
        {end}
        return []

@hookimpl
def execute(worker, task):
    if worker.type.agent == "acme":
        {execute}
        return Command(argv=("/bin/sh", "-c", task.prompt))

@hookimpl
def parse_progress(worker, task):
    if worker.type.agent == "acme":
        return Parser()

@hookimpl
def samples():
    from mahavishnu_core.testing import Sample

    return [Sample("hello", "acme", b"done\\n")]
"""
NO_LUCK = "raise ValueError('no luck')"
FAULTS = {
    "execute": (NO_LUCK, "spawn", "failed in execute: ValueError: no luck"),
    "feed": (NO_LUCK, "no_result", "failed in its parser: ValueError: no luck"),
    "end": (NO_LUCK, "no_result", "failed in its parser: ValueError: no luck"),
    "nothing": ("", "no_result", "it ended without a result"),
    "blocks": ("time.sleep(10**6)", "no_result", "was cut off in its parser: it did not come back for 2 s"),
    "limit": ("1.0", "wall", "Task timed out after 1 s"),
    "endless": (
        "from mahavishnu_core.events import Text; return iter(lambda: Text('more'), None)",
        "no_result",
        "was cut off in its parser: it gave more events than its lines can mean",
    ),
    "exits": ("raise SystemExit(0)", "no_result", "failed in its parser: SystemExit: 0"),
}
AS_A_PARSER = ("blocks", "endless", "exits")
MOST_MB = 250
"""What the program may take in all, also where a parser gives events without end."""


@pytest.mark.parametrize("where", FAULTS)
def test_g7_an_agent_plugin_that_fails_fails_its_own_task(site: Site, packages: Packages, where: str) -> None:
    _, reason, words = FAULTS[where]
    packages.install("acme", agent_with(where))
    prompt = "echo done; exec sleep 30" if where == "limit" else "echo done"
    ran = site.batch(
        {"worker_type": "acme", "prompt": prompt},
        {"worker_type": "shell", "prompt": "echo done"},
        measured=True,
    )
    bad, good = ran.results
    assert (good.status, good.output) == (WorkerStatus.COMPLETED, "done")
    assert (ran.status, bad.is_success(), bad.metadata["reason"]) == (1, False, reason)
    assert ran.peak_mb < MOST_MB
    told = str(bad.error) + site.run("workers", "logs", bad.worker_id).out
    assert words in told
    assert "'acme' (acme-acme 1.2)" in told or where in ("nothing", "limit"), "it is named"


@pytest.mark.parametrize("where", ["execute", "feed", "nothing", "blocks"])
def test_g7_the_check_of_plugins_shows_it_and_without_plugins_nothing_of_it_is_there(
    site: Site, packages: Packages, where: str
) -> None:
    packages.install("acme", agent_with(where))
    checked = site.run("plugins", "check", "acme", "-k", "command" if where == "execute" else "sample hello")
    failed = [line for line in checked.out.splitlines() if line.startswith("FAIL  acme: ")]
    assert (checked.status, len(failed)) == (1, 1), checked.out
    for command in ("workers list", "workers types", "--help"):
        ran = site.run("--no-plugins", *command.split())
        assert (ran.status, "acme" in ran.out + ran.err) == (0, False)


def agent_with(where: str) -> str:
    """A plugin for an agent that has that fault."""
    parts = {"execute": "pass", "feed": "pass", "end": "pass", "limit": "20.0"}
    return HEAD + AGENT.format(**parts | {"feed" if where in AS_A_PARSER else where: FAULTS[where][0]})
