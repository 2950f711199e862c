"""The resources: what tasks have put out, whole and by range, and how workers stand."""

from __future__ import annotations

import base64
import json
import os

import pytest
import trio
from mcp.shared.exceptions import MCPError

from mahavishnu_core.events import Finished, Text
from mahavishnu_core.testing.fakes import Hang, Leave, Say
from mahavishnu_mcp.ranges import LONGEST

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
DONE = Finished(success=True, text="the änswer")
PARTS = ("output", "transcript", "stderr")


def uri(task_id: str, part: str, query: str = "") -> str:
    return f"mahavishnu://tasks/{task_id}/{part}{query}"


async def raw(desk, address: str) -> bytes:
    """A resource as bytes, whether it came as text or not."""
    (content,) = (await desk.client.read_resource(address, cache_mode="bypass")).contents
    return content.text.encode() if hasattr(content, "text") else base64.b64decode(content.blob)


async def refused(desk, address: str) -> str:
    """What is said of a resource that cannot be read."""
    with pytest.raises(MCPError) as caught:
        await desk.client.read_resource(address, cache_mode="bypass")
    assert str(caught.value).isprintable()
    return str(caught.value)


@BOTH_ERAS
async def test_they_are_listed_with_the_label(autojump_clock, desk):
    templates = (await desk.client.list_resource_templates()).resource_templates
    assert {template.uri_template: template.mime_type for template in templates} == {
        "mahavishnu://tasks/{task_id}/output{?offset,length}": "text/plain",
        "mahavishnu://tasks/{task_id}/transcript{?offset,length}": "application/x-ndjson",
        "mahavishnu://tasks/{task_id}/stderr{?offset,length}": "text/plain",
        "mahavishnu://workers/{worker_id}": "application/json",
    }
    resources = (await desk.client.list_resources()).resources
    assert [str(resource.uri) for resource in resources] == ["mahavishnu://workers"]
    for each in (*templates, *resources):
        assert each.title
        assert "untrusted text" in each.description


@pytest.mark.thorough
@BOTH_ERAS
async def test_output_transcript_and_stderr_are_read_whole_and_by_range(autojump_clock, desk, place):
    def script(task):
        (task.directory / "stderr.log").write_text("a wärning\n")
        return place.steps(Text("on it"), DONE)

    place.script = script
    (worker_id,) = await desk.spawn()
    task_id = (await desk.call("worker_execute", worker_id=worker_id, prompt="go"))["task_id"]
    transcript = (desk.service.state.task(task_id).directory / "stdout.jsonl").read_text()
    whole = {"output": "the änswer", "transcript": transcript, "stderr": "a wärning\n"}
    assert len(transcript.splitlines()) == 2
    for part, text in whole.items():
        assert await desk.read(uri(task_id, part)) == text
        size = len(text.encode())
        for length in (1, 3, size, size + 1):
            ranges = [f"?offset={offset}&length={length}" for offset in range(0, size, length)]
            pieces = [await desk.read(uri(task_id, part, query)) for query in ranges[:40]]
            assert "".join(pieces) == text.encode()[: 40 * length].decode()
        assert await desk.read(uri(task_id, part, "?offset=2")) == text[2:]
        assert await desk.read(uri(task_id, part, "?length=3")) == text[:3]
        assert await desk.read(uri(task_id, part, f"?offset={size}&length=5")) == ""
        assert await desk.read(uri(task_id, part, "?offset=999999999&length=5")) == ""


async def test_what_is_no_text_comes_as_bytes_and_nothing_is_lost(autojump_clock, desk, place):
    data = b"\x80\xff caf\xe9 \xe2\x82\xac\xe2\x82 \0\x1b[31m" * 3
    place.does(Say(data), Leave())
    (worker_id,) = await desk.spawn(kind="plain")
    task_id = (await desk.call("worker_execute", worker_id=worker_id, prompt="go"))["task_id"]
    assert await raw(desk, uri(task_id, "transcript")) == data
    pieces = [
        await raw(desk, uri(task_id, "transcript", f"?offset={offset}&length=7"))
        for offset in range(0, len(data), 7)
    ]
    assert b"".join(pieces) == data


async def test_a_task_that_runs_is_read_as_far_as_it_has_come(autojump_clock, desk, place):
    place.does(Text("one"), Text("tw", partial=True), Text("two"), Text("thr", partial=True), Hang())
    (worker_id,) = await desk.spawn()
    task_id = await desk.begin(worker_id)
    await trio.sleep(1)
    assert await desk.read(uri(task_id, "output")) == "one\n\ntwo\n\nthr"
    assert await desk.read(uri(task_id, "output", "?offset=5&length=3")) == "two"
    transcript = await desk.read(uri(task_id, "transcript"))
    assert [json.loads(line)["text"] for line in transcript.splitlines()] == ["one", "tw", "two", "thr"]
    assert await desk.read(uri(task_id, "stderr")) == ""


async def test_a_task_that_prints_lines_is_read_as_they_come(autojump_clock, desk, place):
    place.does(Say(b"one\ntw"), Hang())
    (worker_id,) = await desk.spawn(kind="plain")
    task_id = await desk.begin(worker_id)
    await trio.sleep(1)
    for part in ("output", "transcript"):
        assert await desk.read(uri(task_id, part)) == "one\ntw"
    assert await desk.read(uri(task_id, "output", "?offset=1&length=3")) == "ne\n"


@pytest.mark.parametrize("kind", ["fake", "plain"])
async def test_a_task_that_has_not_begun_has_put_out_nothing(autojump_clock, desk, place, kind):
    place.width = trio.Semaphore(0)
    (worker_id,) = await desk.spawn(kind=kind)
    task_id = await desk.begin(worker_id)
    assert [await desk.read(uri(task_id, part)) for part in PARTS] == ["", "", ""]


@BOTH_ERAS
async def test_what_does_not_exist_is_said_and_nothing_else_is_read(autojump_clock, desk, place, tmp_path):
    (worker_id,) = await desk.spawn()
    task_id = (await desk.call("worker_execute", worker_id=worker_id, prompt="go"))["task_id"]
    (tmp_path / "state" / "workers" / "stdout.jsonl").write_text("what must not be read")
    strange = [
        "nobody",
        "nobody.1",
        f"{worker_id}.2",
        "..",
        "%2e%2e",
        "..%2F..",
        f"{task_id}%2F..%2F{task_id}",
    ]
    strange += [f"{worker_id}%2Ftasks%2F{task_id}", "%00", "%1b%5b2J", "..%5C..", "x" * 300, "%ff", "."]
    for name in strange:
        for part in PARTS:
            assert "must not be read" not in await refused(desk, uri(name, part))
        await refused(desk, f"mahavishnu://workers/{name}")
    assert "no task 'nobody.1'" in await refused(desk, uri("nobody.1", "output"))
    assert "no worker 'nobody'" in await refused(desk, "mahavishnu://workers/nobody")
    for address in (f"mahavishnu://tasks/{task_id}/prompt", "mahavishnu://tasks", "file:///etc/passwd"):
        await refused(desk, address)


async def test_a_bad_range_is_said(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    task_id = (await desk.call("worker_execute", worker_id=worker_id, prompt="go"))["task_id"]
    for query in ("?offset=-1", "?offset=x", "?length=1e9", "?offset=0&length=-5", "?offset=%1b"):
        assert "must be a number of bytes" in await refused(desk, uri(task_id, "output", query))


async def test_more_than_fits_is_refused_with_advice_and_can_be_read_in_parts(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    task_id = (await desk.call("worker_execute", worker_id=worker_id, prompt="go"))["task_id"]
    file = desk.service.state.task(task_id).directory / "stdout.jsonl"
    os.truncate(file, LONGEST + 5)
    said = await refused(desk, uri(task_id, "transcript"))
    assert said.endswith(
        f"that is {LONGEST + 5} bytes: read {LONGEST} at most, with ?offset=0&length={LONGEST}"
    )
    assert await desk.read(uri(task_id, "transcript", f"?offset={LONGEST}")) == "\0" * 5


async def test_a_link_in_the_place_of_a_file_is_not_followed(autojump_clock, desk, place, tmp_path):
    (tmp_path / "private").write_text("what must not be read")
    (worker_id,) = await desk.spawn()
    task_id = (await desk.call("worker_execute", worker_id=worker_id, prompt="go"))["task_id"]
    (desk.service.state.task(task_id).directory / "stderr.log").symlink_to(tmp_path / "private")
    assert await raw(desk, uri(task_id, "stderr")) == b""


@pytest.mark.parametrize("secret", ["of-this-environment", "the-types-own-secret"])
async def test_secrets_are_starred_and_nothing_moves(autojump_clock, monkeypatch, open_desk, place, secret):
    monkeypatch.setenv("HOUSE_PASSWORD", "of-this-environment")
    monkeypatch.setenv("STRANGE_TOKEN", b"\xff\xfe not text".decode("utf-8", "surrogateescape"))
    place.does(Text(f"it is {secret}!"), Hang())
    stars = "*" * len(secret)
    async with open_desk() as desk:
        (worker_id,) = await desk.spawn(kind="secretive")
        task_id = await desk.begin(worker_id)
        await trio.sleep(1)
        assert await desk.read(uri(task_id, "output")) == f"it is {stars}!"
        halves = [await desk.read(uri(task_id, "output", f"?offset={n}&length=12")) for n in (0, 12, 24)]
        assert "".join(halves) == f"it is {stars}!"
        written = (desk.service.state.task(task_id).directory / "stdout.jsonl").read_text()
        assert await desk.read(uri(task_id, "transcript")) == written.replace(secret, stars)


@BOTH_ERAS
async def test_workers_stand_as_the_list_tells(autojump_clock, desk, place):
    ids = await desk.spawn(2)
    await desk.call("worker_execute", worker_id=ids[0], prompt="it")
    listed = await desk.call("worker_list")
    assert json.loads(await desk.read("mahavishnu://workers")) == listed
    for worker_id, line in zip(ids, listed["workers"], strict=True):
        assert json.loads(await desk.read(f"mahavishnu://workers/{worker_id}")) == line
    await desk.call("worker_close", worker_id=ids[1])
    assert json.loads(await desk.read(f"mahavishnu://workers/{ids[1]}"))["closed"]
