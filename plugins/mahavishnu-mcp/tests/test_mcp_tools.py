"""The tools as they are offered, and those that make, list and close workers."""

from __future__ import annotations

import json

import pytest
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import Text
from mahavishnu_core.testing.fakes import Hang

TOOLS = {
    "worker_spawn": (False, False, False, "spawn"),
    "worker_execute": (False, True, False, "execute"),
    "worker_execute_batch": (False, True, False, "batch"),
    "worker_list": (True, None, None, "list"),
    "worker_monitor": (True, None, None, "monitor"),
    "worker_collect_results": (True, None, None, "results"),
    "worker_close": (False, True, True, "close"),
    "worker_close_all": (False, True, True, "close --all"),
    "worker_health": (True, None, None, "health"),
}
"""By name: whether it only reads, destroys, may be repeated; and the command that does the same."""
BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@BOTH_ERAS
async def test_the_nine_tools_are_described_for_a_model_that_has_never_seen_them(autojump_clock, desk):
    tools = (await desk.client.list_tools()).tools
    seen = {}
    for tool in tools:
        hints = tool.annotations
        assert tool.title
        _, _, twin = tool.description.rpartition("CLI twin: mahavishnu workers ")
        seen[tool.name] = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, twin)
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema["properties"]
        assert tool.name in TOOLS
        assert TOOLS[tool.name][3] in twin
    assert {name: hints[:3] for name, hints in seen.items()} == {
        name: hints[:3] for name, hints in TOOLS.items()
    }
    assert len(tools) == len(TOOLS)


async def test_every_argument_is_explained_or_obvious(autojump_clock, desk):
    for tool in (await desk.client.list_tools()).tools:
        for name, argument in tool.input_schema["properties"].items():
            items = argument.get("items", {})
            assert "description" in argument or "description" in items, f"{tool.name}, {name}"


@BOTH_ERAS
async def test_workers_are_spawned_in_the_servers_directory(autojump_clock, desk, place, root):
    ids = await desk.spawn(3)
    assert set(ids) == set(place.spawned)
    workers = [desk.service.state.worker(worker_id) for worker_id in ids]
    assert [(worker.type.name, worker.workspace) for worker in workers] == [("fake", root)] * 3


async def test_a_worker_may_be_put_into_a_directory_below(autojump_clock, desk, root):
    (root / "below").mkdir()
    for repo in ("below", str(root / "below"), "below/../below/."):
        (worker_id,) = (await desk.call("worker_spawn", worker_type="fake", repo=repo))["worker_ids"]
        assert desk.service.state.worker(worker_id).workspace == root / "below"


@pytest.mark.parametrize("variables", [{"MAHAVISHNU_WORKER_DEFAULT_TYPE": "plain"}])
async def test_the_users_type_is_taken_where_none_is_named(autojump_clock, desk):
    (worker_id,) = (await desk.call("worker_spawn"))["worker_ids"]
    assert desk.service.state.worker(worker_id).type.name == "plain"


@BOTH_ERAS
async def test_the_list_tells_how_each_worker_stands(autojump_clock, desk, root):
    ids = await desk.spawn(2)
    await desk.call("worker_execute", worker_id=ids[0], prompt="it")
    done, idle = (await desk.call("worker_list"))["workers"]
    assert (done["status"], done["task_id"], done["activity"]) == ("completed", f"{ids[0]}.1", "did it")
    assert (idle["status"], idle["task_id"], idle["elapsed_seconds"]) == ("pending", None, None)
    for worker_id, line in zip(ids, (done, idle), strict=True):
        assert (line["worker_id"], line["worker_type"], line["closed"]) == (worker_id, "fake", False)
        assert line["workspace"] == str(root)


async def test_workers_of_another_program_are_seen_and_worked_with(autojump_clock, desk, fake_app, place):
    async with WorkerManager(fake_app) as theirs:
        (worker_id,) = await theirs.spawn_workers("fake")
        (line,) = (await desk.call("worker_list"))["workers"]
        assert line["worker_id"] == worker_id
        assert (await desk.call("worker_execute", worker_id=worker_id, prompt="it"))["output"] == "did it"
        assert (await theirs.collect_results())[0].output == "did it"
        assert await desk.call("worker_close", worker_id=worker_id) == closed(worker_id)
        assert theirs.app.state.is_closed(worker_id)


def closed(*worker_ids: str, already: tuple[str, ...] = ()) -> dict[str, list[str]]:
    return {"closed": sorted(worker_ids), "already_closed": list(already)}


def all_closed(*worker_ids: str) -> dict[str, list[str]]:
    return {**closed(*worker_ids), "removed": [], "not_swept": []}


@BOTH_ERAS
async def test_a_worker_is_closed_once_and_keeps_its_results(autojump_clock, desk, place):
    first, second = await desk.spawn(2)
    await desk.call("worker_execute", worker_id=first, prompt="it")
    assert await desk.call("worker_close", worker_id=first) == closed(first)
    assert await desk.call("worker_close", worker_id=first) == closed(already=(first,))
    assert [line["worker_id"] for line in (await desk.call("worker_list"))["workers"]] == [second]
    results = await desk.call("worker_collect_results", worker_ids=[first])
    assert results["results"][first]["output"] == "did it"


async def test_closing_a_worker_ends_what_it_does(autojump_clock, desk, place):
    place.does(Text("begun"), Hang())
    (worker_id,) = await desk.spawn()
    task_id = await desk.begin(worker_id)
    assert await desk.call("worker_close", worker_id=worker_id) == closed(worker_id)
    assert (await desk.end_of(task_id)).status.value == "cancelled"
    assert [cause for cause, _ in place.runs[0].asked] == ["cancelled"]


async def test_all_workers_are_closed_those_of_others_too(autojump_clock, desk, fake_app, place):
    async with WorkerManager(fake_app) as theirs:
        ids = [*await desk.spawn(2), *await theirs.spawn_workers("fake")]
        assert await desk.call("worker_close_all") == all_closed(*ids)
    assert sorted(place.closed) == sorted(ids)
    assert await desk.call("worker_close_all") == all_closed()
    assert (await desk.call("worker_list"))["workers"] == []


async def test_a_worker_that_cannot_be_closed_is_named_and_the_others_are_closed(
    autojump_clock, desk, place, monkeypatch
):
    ids = await desk.spawn(3)
    really = place._close

    async def close(worker):
        if worker.worker_id == ids[1]:
            raise PluginError("the daemon\x1b is away")
        await really(worker)

    monkeypatch.setattr(type(place), "_close", lambda _, worker: close(worker))
    assert await desk.refused("worker_close_all") == (
        f"2 closed; worker '{ids[1]}' cannot be closed: the daemon\\x1b is away"
    )
    assert [line["worker_id"] for line in (await desk.call("worker_list"))["workers"]] == [ids[1]]


@BOTH_ERAS
async def test_the_health_is_that_of_the_manager(autojump_clock, desk):
    running, _ = await desk.spawn(2)
    await desk.begin(running)
    told = await desk.call("worker_health")
    health = (await desk.service.manager.health()).to_dict()
    assert told == health
    assert (told["workers_active"], told["tasks_running"], told["status"]) == (2, 1, "healthy")


async def test_an_unexpected_error_keeps_its_text_to_the_log(autojump_clock, desk, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(type(desk.service.manager), "monitor_workers", broken)
    result = await desk.client.call_tool("worker_list")
    assert result.is_error
    assert [content.text for content in result.content] == ["Error executing tool worker_list"]
    assert "the secret of the house" in caplog.text
    assert (await desk.call("worker_health"))["status"] == "healthy"


async def test_an_unknown_tool_is_an_error_and_no_crash(autojump_clock, desk):
    result = await desk.client.call_tool("worker_fly", {})
    assert result.is_error
    assert "worker_fly" in result.content[0].text


# --- the same data as the command line's


@pytest.mark.whole
def test_the_twins_on_the_command_line_give_the_same_data(open_real, root, capsys, monkeypatch):
    from mahavishnu_cli.main import run

    monkeypatch.chdir(root)

    def twin(*words: str):
        capsys.readouterr()
        assert run(["workers", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    def ask(tool: str, **arguments: object):
        async def once():
            async with open_real() as desk:
                return await desk.call(tool, **arguments)

        return trio.run(once)

    first, second = ask("worker_spawn", worker_type="shell", count=2)["worker_ids"]
    (third,) = twin("spawn", "--type", "shell")
    (theirs,) = twin("execute", "--worker", first, "-p", "echo one")
    ours = ask("worker_execute", worker_id=second, prompt="echo one")
    assert (ours["output"], ours["status"]) == (theirs["output"], theirs["status"]) == ("one", "completed")
    assert twin("list") == ask("worker_list")["workers"]
    results = ask("worker_collect_results")
    assert results["without_task"] == [third]
    told = [*results["results"].values()]
    found = twin("results")
    assert [{name: report[name] for name in found[0]} for report in told] == found
    assert twin("monitor")["workers"] == [*ask("worker_monitor")["workers"].values()]
    assert twin("health") == ask("worker_health")
    assert ask("worker_close", worker_id=first) == closed(first)
    assert twin("close", first) == ask("worker_close", worker_id=first) == closed(already=(first,))
    assert set(twin("close", "--all")["closed"]) == {second, third}
    assert twin("close", "--all") == ask("worker_close_all") == all_closed()
