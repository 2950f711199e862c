"""What a client must not ask for is told in one line, starts nothing, and leaves the server as it was."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.events import Text
from mahavishnu_core.testing.fakes import Hang
from mahavishnu_mcp import service as service_module
from mahavishnu_mcp.service import Roots

ESCAPES = "\x1b[2J\x1b]0;owned\x07"
STRANGE_IDS = [
    "nobody",
    "",
    ".",
    "..",
    "../workers",
    "../../etc/passwd",
    "a/b",
    "/",
    "-",
    ESCAPES,
    "a\0b",
    "‮x",
]
NO_WORKER = "there is no worker "
MANY = ["x"] * 1001


BAD_SPAWNS = [
    ({"count": 0}, "count: Input should be greater than or equal to 1"),
    ({"count": 51}, "count: Input should be less than or equal to 50"),
    ({"count": "many"}, "count: Input should be a valid integer"),
    ({"count": None}, "count: Input should be a valid integer"),
    ({"count": 1.5}, "count: Input should be a valid integer"),
    ({"worker_type": 7}, "worker_type: Input should be a valid string"),
    ({"worker_type": "x" * 101}, "worker_type: String should have at most 100 characters"),
    ({"worker_type": "half \ud800"}, "worker_type: Input should be a valid string"),
    ({"worker_type": "fakee"}, "unknown worker type 'fakee' (did you mean 'fake'?)"),
    ({"worker_type": ESCAPES}, "unknown worker type "),
    ({"repo": 7}, "repo: Input should be a valid string"),
    ({"repo": "r" * 4097}, "repo: String should have at most 4096 characters"),
    ({"repo": "r" * 300}, "is not a directory"),
    ({"repo": "nothing"}, "'nothing' is not a directory"),
    ({"repo": "file"}, "'file' is not a directory"),
    ({"repo": "a\0b"}, "has no NUL in it"),
    ({"repo": ESCAPES}, "is not a directory"),
    ({"repo": "circle"}, "'circle' leads nowhere"),
    ({"repo": ".."}, "'..' is outside of what this server may use"),
    ({"repo": "below/../.."}, "is outside of what this server may use"),
    ({"repo": "/"}, "'/' is outside of what this server may use"),
    ({"repo": "way out"}, "'way out' is outside of what this server may use"),
    ({"repo": "way out/state"}, "is outside of what this server may use"),
    ({"repo": "/nothing/" + ESCAPES}, "is outside of what this server may use"),
]


async def test_h6_no_worker_is_spawned_for_a_bad_argument(autojump_clock, desk, place, root, tmp_path):
    (root / "below").mkdir()
    (root / "file").touch()
    (root / "way out").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    for arguments, said in BAD_SPAWNS:
        assert said in await desk.refused("worker_spawn", **{"worker_type": "fake", **arguments}), arguments
    assert place.spawned == desk.service.state.workers() == []


async def test_a_directory_beside_the_root_whose_name_begins_alike_is_outside(autojump_clock, desk, root):
    (root.parent / "root2").mkdir()
    assert "is outside" in await desk.refused("worker_spawn", worker_type="fake", repo="../root2")


async def test_all_roots_count_and_relative_names_are_those_of_the_first(autojump_clock, desk, tmp_path):
    for name in ("a", "b/below", "b/a"):
        (tmp_path / name).mkdir(parents=True)
    roots = Roots.of([tmp_path / "b", tmp_path / "a"])
    wanted = [None, "a", "../a", str(tmp_path / "a"), "below"]
    below = tmp_path / "b" / "below"
    a = tmp_path / "a"
    assert [roots.workspace(each) for each in wanted] == [tmp_path / "b", tmp_path / "b" / "a", a, a, below]


BAD_TASKS = [
    ({"timeout": 29}, "timeout: Input should be greater than or equal to 30"),
    ({"timeout": 3601}, "timeout: Input should be less than or equal to 3600"),
    ({"timeout": "soon"}, "timeout: Input should be a valid integer"),
    ({"prompt": 7}, "prompt: Input should be a valid string"),
    ({"prompt": ["go"]}, "prompt: Input should be a valid string"),
    ({"prompt": ""}, "the prompt is empty"),
    ({"prompt": " \n\t"}, "the prompt is empty"),
    ({"prompt": "half \ud800"}, "prompt: Input should be a valid string"),
    ({"prompt": "x" * 2_000_001}, "prompt: String should have at most 2000000 characters"),
    ({"wait": "perhaps"}, "wait: Input should be a valid boolean"),
    ({"idempotency_key": ""}, "idempotency_key: String should have at least 1 character"),
    ({"idempotency_key": "k" * 201}, "idempotency_key: String should have at most 200 characters"),
    ({"worker_id": "w" * 101}, "worker_id: String should have at most 100 characters"),
    ({"worker_id": ["w"]}, "worker_id: Input should be a valid string"),
    *(({"worker_id": worker_id}, NO_WORKER) for worker_id in STRANGE_IDS),
]


async def test_h6_no_task_is_begun_for_a_bad_argument(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    for arguments, said in BAD_TASKS:
        asked = {"worker_id": worker_id, "prompt": "go", **arguments}
        assert said in await desk.refused("worker_execute", **asked), arguments
    assert place.runs == desk.service.state.tasks(worker_id) == []


async def test_what_is_missing_is_named(autojump_clock, desk):
    said = await desk.refused("worker_execute")
    assert said == "worker_id: Field required; prompt: Field required"


STRANGE_ARGUMENTS = [
    ("worker_spawn", {"worker_typ": "plain"}, "worker_typ: is not an argument (did you mean 'worker_type'?)"),
    ("worker_spawn", {"workerType": "plain"}, "workerType: is not an argument (did you mean 'worker_type'?)"),
    ("worker_spawn", {"ctx": {}}, "ctx: is not an argument"),
    ("worker_spawn", {"count": 0, "": 1}, ": is not an argument"),
    ("worker_execute", {"wai": False}, "wai: is not an argument (did you mean 'wait'?)"),
    ("worker_execute", {"x": 1, "y": 2}, "x: is not an argument; y: is not an argument"),
    ("worker_execute", dict.fromkeys("stuvwxyz"), "; w: is not an argument; and 3 more"),
    ("worker_execute", {ESCAPES: 1}, "\\x1b[2J\\x1b]0;owned\\x07: is not an argument"),
    ("worker_execute", {"x" * 9000: 1}, "xxx…: is not an argument"),
    ("worker_execute_batch", {"key": "k"}, "key: is not an argument"),
    ("worker_list", {"all": True}, "all: is not an argument"),
    ("worker_monitor", {"max_event": 1}, "max_event: is not an argument (did you mean 'max_events'?)"),
    ("worker_collect_results", {"worker_id": "w"}, "(did you mean 'worker_ids'?)"),
    ("worker_close", {"worker_ids": ["w"]}, "worker_ids: is not an argument (did you mean 'worker_id'?)"),
    ("worker_close_all", {"worker_ids": ["w"]}, "worker_ids: is not an argument"),
    ("worker_health", {"verbose": True}, "verbose: is not an argument"),
]


async def test_an_argument_that_a_tool_does_not_have_is_refused_and_nothing_is_done(
    autojump_clock, desk, place
):
    """A misspelt one would mean another worker, or all of them."""
    (worker_id,) = await desk.spawn()
    needed = {
        "worker_execute": {"worker_id": worker_id, "prompt": "go"},
        "worker_execute_batch": {"worker_ids": [worker_id], "prompts": ["go"]},
        "worker_close": {"worker_id": worker_id},
    }
    for tool, strange, said in STRANGE_ARGUMENTS:
        words = await desk.refused(tool, **needed.get(tool, {}), **strange)
        assert words.endswith(said), (tool, strange, words)
        assert len(words) < 1000
    assert place.spawned == [worker_id]
    assert place.runs == []
    assert not desk.service.state.is_closed(worker_id)


BAD_BATCHES = [
    (1, ["a", "b"], "must have the same length, not 1 and 2"),
    (2, [], "must have the same length, not 2 and 0"),
    (1, "go", "prompts: Input should be a valid list"),
    (1, [7], "prompts.0: Input should be a valid string"),
    (1, MANY, "prompts: List should have at most 1000 items"),
    (MANY, ["a"], "worker_ids: List should have at most 1000 items"),
    ([7] * 9, ["a"] * 9, "; and 4 more"),
]


async def test_no_task_of_a_batch_is_begun_for_bad_lists(autojump_clock, desk, place):
    known = await desk.spawn(2)
    for ids, prompts, said in BAD_BATCHES:
        asked = known[:ids] if isinstance(ids, int) else ids
        assert said in await desk.refused("worker_execute_batch", worker_ids=asked, prompts=prompts)
    assert place.runs == []


BAD_QUESTIONS = [
    ({"interval": -1}, "interval: Input should be greater than or equal to 0"),
    ({"interval": 31}, "interval: Input should be less than or equal to 30"),
    ({"interval": float("nan")}, "interval: Input should be "),
    ({"max_events": 0}, "max_events: Input should be greater than or equal to 1"),
    ({"max_events": 1001}, "max_events: Input should be less than or equal to 1000"),
    ({"cursor": "yesterday"}, "that is no cursor"),
    ({"cursor": "../x:1"}, "that is no cursor"),
    ({"cursor": f"w.1:{'9' * 16}"}, "that is no cursor"),
    ({"cursor": "x" * 100_001}, "cursor: String should have at most 100000 characters"),
    ({"cursor": ESCAPES}, "that is no cursor"),
    ({"worker_ids": "all"}, "worker_ids: Input should be a valid list"),
    ({"worker_ids": MANY}, "worker_ids: List should have at most 1000 items"),
]


async def test_a_bad_question_to_the_monitor_is_answered(autojump_clock, desk):
    for arguments, said in BAD_QUESTIONS:
        assert said in await desk.refused("worker_monitor", **arguments), arguments


async def test_a_worker_that_does_not_exist_is_said_by_every_tool(autojump_clock, desk):
    for worker_id in STRANGE_IDS:
        assert NO_WORKER in await desk.refused("worker_close", worker_id=worker_id)
        for tool in ("worker_monitor", "worker_collect_results"):
            assert NO_WORKER in await desk.refused(tool, worker_ids=[worker_id])


async def test_h6_a_server_with_1000_tasks_under_way_takes_no_more(autojump_clock, desk, place, monkeypatch):
    monkeypatch.setattr(service_module, "MOST_WAITING", 3)
    place.does(Text("begun"), Hang())
    ids = await desk.spawn(4)
    for worker_id in ids[:2]:
        await desk.begin(worker_id)
    full = "tasks have not ended yet, and 3 is the most"
    said = await desk.refused("worker_execute_batch", worker_ids=ids[2:], prompts=["a", "b"])
    assert said.startswith(f"2 {full}")
    await desk.begin(ids[2])
    for tool, arguments in (("worker_execute", {"worker_id": ids[3], "prompt": "go"}), ("worker_spawn", {})):
        assert (await desk.refused(tool, **arguments)).startswith(f"3 {full}")
    assert len(place.runs) == 3
    await desk.call("worker_close", worker_id=ids[0])
    await desk.begin(ids[3])


@pytest.mark.parametrize("variables", [{"MAHAVISHNU_WORKERS_ENABLED": "false"}])
async def test_where_workers_are_switched_off_none_begins_and_how_to_change_that_is_said(
    autojump_clock, desk, fake_app, place, variables
):
    refused = [
        await desk.refused("worker_spawn", worker_type="fake"),
        await desk.refused("worker_execute", worker_id="w", prompt="go"),
        await desk.refused("worker_execute_batch", worker_ids=["w"], prompts=["go"]),
    ]
    assert all("workers are switched off by 'workers_enabled' in MAHAVISHNU_" in said for said in refused)
    assert (await desk.call("worker_list"))["workers"] == []
    assert place.spawned == []


@pytest.mark.parametrize("variables", [{"MAHAVISHNU_DEPTH": "1"}])
async def test_h6_a_worker_that_calls_back_starts_nothing_and_may_look(
    autojump_clock, desk, fake_app, place, open_desk, variables
):
    environ = {name: value for name, value in fake_app.environ.items() if name not in variables}
    async with open_desk(app=attrs.evolve(fake_app, environ=environ)) as users:
        (worker_id,) = await users.spawn()
        done = await users.call("worker_execute", worker_id=worker_id, prompt="it")
    asked = {"worker_id": worker_id, "prompt": "go"}
    assert "this is itself a worker (depth 1)" in await desk.refused("worker_spawn", worker_type="fake")
    assert "this is itself a worker (depth 1)" in await desk.refused("worker_execute", **asked)
    batch = await desk.call("worker_execute_batch", worker_ids=[worker_id], prompts=["go"])
    assert [(one["worker_id"], "this is itself" in one["error"]) for one in batch["refused"]] == [
        (worker_id, True)
    ]
    assert batch["results"] == {}
    assert [line["worker_id"] for line in (await desk.call("worker_list"))["workers"]] == [worker_id]
    assert (await desk.call("worker_monitor"))["all_ended"]
    results = await desk.call("worker_collect_results")
    assert results["results"][worker_id] == {name: done[name] for name in results["results"][worker_id]}
    assert len(place.runs) == len(place.spawned) == 1


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TOOLS = ["worker_spawn", "worker_execute", "worker_execute_batch", "worker_monitor", "worker_close"]


async def test_whatever_comes_is_answered_in_words(autojump_clock, desk, caplog):
    """Anything at all as arguments: never an internal error."""
    offered = {tool.name: tool for tool in (await desk.client.list_tools()).tools}
    asked = []

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.data(), st.sampled_from(TOOLS))
    def make(data, tool):
        names = st.sampled_from([*offered[tool].input_schema["properties"], "stranger"])
        asked.append((tool, data.draw(st.dictionaries(names, ANYTHING))))

    make()
    for tool, arguments in asked:
        with trio.fail_after(60):
            result = await desk.client.call_tool(tool, arguments)
        assert all(content.text.isprintable() for content in result.content if result.is_error), arguments
    assert not [record for record in caplog.records if record.exc_info]
