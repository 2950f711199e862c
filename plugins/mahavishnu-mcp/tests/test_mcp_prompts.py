"""Prompts, server instructions and completions: how a client's user finds what there is."""

from __future__ import annotations

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from mahavishnu_mcp import completions
from mahavishnu_mcp.prompts import INSTRUCTIONS

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
OUTPUT = ResourceTemplateReference(uri="mahavishnu://tasks/{task_id}/output{?offset,length}")
WORKER = ResourceTemplateReference(uri="mahavishnu://workers/{worker_id}")
FAN_OUT, REVIEW = PromptReference(name="fan_out"), PromptReference(name="review_results")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_server_says_what_it_is_for(autojump_clock, desk):
    assert desk.client.instructions == INSTRUCTIONS
    assert desk.client.server_info.name == "mahavishnu"
    for tool in ("worker_spawn", "worker_execute", "worker_monitor", "worker_collect_results"):
        assert tool in INSTRUCTIONS
    assert "untrusted" in INSTRUCTIONS
    assert len(INSTRUCTIONS) < 2000  # clients cut what is longer
    offered = desk.client.server_capabilities
    assert offered.resources.subscribe
    assert None not in (offered.completions, offered.prompts, offered.tools)


async def test_all_that_the_instructions_and_prompts_name_is_there(autojump_clock, desk):
    """No tool or argument that a client does not find."""
    tools = {tool.name: tool for tool in (await desk.client.list_tools()).tools}
    texts = [INSTRUCTIONS, await text_of(desk, "fan_out", job="x"), await text_of(desk, "review_results")]
    words = {word.strip(".,:;()") for text in texts for word in text.split()}
    assert {word for word in words if word.startswith("worker_")} <= {*tools, "worker_ids"}
    arguments = {name for tool in tools.values() for name in tool.input_schema["properties"]}
    arguments |= set(tools["worker_execute"].output_schema["properties"])
    assert {word.partition("=")[0] for word in words if "=" in word} <= arguments


async def text_of(desk, name: str, **arguments: str) -> str:
    (message,) = (await desk.client.get_prompt(name, arguments)).messages
    assert message.role == "user"
    return message.content.text


@BOTH_ERAS
async def test_prompts_are_listed_with_their_arguments(autojump_clock, desk):
    prompts = {prompt.name: prompt for prompt in (await desk.client.list_prompts()).prompts}
    assert {
        name: {argument.name: argument.required for argument in prompt.arguments}
        for name, prompt in prompts.items()
    } == {
        "fan_out": {"job": True, "count": False, "worker_type": False},
        "review_results": {"worker_ids": False},
    }
    assert all(prompt.title and prompt.description for prompt in prompts.values())


@BOTH_ERAS
async def test_prompts_take_up_what_the_user_gives(autojump_clock, desk):
    text = await text_of(desk, "fan_out", job="Mend {the} roof", count="5", worker_type="terminal-claude")
    assert text.startswith("Fan this job out over 5 workers of type terminal-claude:\n\nMend {the} roof\n")
    assert "worker_spawn with count=5" in text
    assert "over 3 workers:" in await text_of(desk, "fan_out", job="x")
    review = await text_of(desk, "review_results", worker_ids="w1 w2")
    assert "the workers w1 w2" in review
    assert "untrusted" in review
    assert "all workers" in await text_of(desk, "review_results")


async def test_a_prompt_without_what_it_needs_is_refused(autojump_clock, desk):
    with pytest.raises(MCPError, match="job"):
        await desk.client.get_prompt("fan_out", {})
    with pytest.raises(MCPError, match="dance"):
        await desk.client.get_prompt("dance", {})


# --- completions


async def completed(desk, ref: object, name: str, value: str) -> list[str]:
    return (await desk.client.complete(ref, {"name": name, "value": value})).completion.values


@BOTH_ERAS
async def test_ids_and_types_are_completed_the_newest_first(autojump_clock, desk, place):
    first, second = await desk.spawn(2)
    for prompt in ("a", "b"):
        await desk.call("worker_execute", worker_id=first, prompt=prompt)
    await desk.call("worker_close", worker_id=first)
    assert await completed(desk, WORKER, "worker_id", "") == [second, first]
    assert await completed(desk, WORKER, "worker_id", first[:5]) == [first]
    assert await completed(desk, OUTPUT, "task_id", "") == [f"{first}.2", f"{first}.1"]
    assert await completed(desk, OUTPUT, "task_id", f"{first}.1") == [f"{first}.1"]
    assert await completed(desk, REVIEW, "worker_ids", second[:7]) == [second]
    assert await completed(desk, FAN_OUT, "worker_type", "pl") == ["plain"]
    assert set(await completed(desk, FAN_OUT, "worker_type", "")) == {"fake", "plain", "secretive"}


async def test_what_is_not_known_is_completed_by_nothing(autojump_clock, desk):
    assert await completed(desk, FAN_OUT, "job", "Mend") == []
    for value in ("../", "\x1b", "\0", "x" * 1000):
        assert await completed(desk, OUTPUT, "task_id", value) == []


async def test_of_very_many_so_many_are_told_and_how_many_there_are(autojump_clock, desk, monkeypatch):
    monkeypatch.setattr(completions, "_MOST", 3)
    ids = await desk.spawn(5)
    found = (await desk.client.complete(WORKER, {"name": "worker_id", "value": ""})).completion
    assert (found.values, found.total, found.has_more) == (ids[:1:-1], 5, True)
