"""What waits arrives, each once, whatever is wrong with the server, and nothing is lost before it has."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
import trio

from mahavishnu_core.models import Backlog, LogBatch, Worker, WorkerStatus, WorkerType
from mahavishnu_session_buddy import delivery, dispatch, server
from mahavishnu_session_buddy.target import Target

from . import memory
from .buddy import HttpBuddy
from .faults import EVERYTHING, LOCKED, Drop, Flood, Garbage, Pretence, Says, Silence, Status
from .memory import STORE_MEMORY
from .mirroring import UNCLOSED

pytestmark = pytest.mark.filterwarnings(UNCLOSED)

STORE, FLUSH = "store_reflection", "reset_reflection_database"


async def test_each_result_is_stored_once_and_written_to_disk(mirror):
    tasks = mirror.add_results(3)
    synced = await mirror.sync()
    assert (sorted(synced.sent), synced.lost, synced.backlog) == (
        sorted(tasks),
        (),
        Backlog("session-buddy", 0),
    )
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]
    assert mirror.buddy.memory.log == []
    assert sorted(mirror.outbox.sent()) == sorted(tasks)


async def test_a_second_time_nothing_is_sent_and_nobody_is_asked(mirror):
    mirror.add_results(3)
    await mirror.sync()
    calls = len(mirror.buddy.memory.calls)
    assert (await mirror.sync()).sent == ()
    assert len(mirror.buddy.memory.calls) == calls


@pytest.mark.thorough
async def test_progress_is_told_to_the_end(mirror):
    mirror.add_results(45)
    told = []
    async with mirror.manager() as manager:
        await manager.sync_results(told=lambda done, total: told.append((done, total)))
    assert told == [(20, 45), (40, 45), (45, 45)]
    assert mirror.calls(FLUSH) == 3


@pytest.mark.thorough
async def test_the_letter_has_the_tags_of_its_result(mirror):
    task = mirror.add_result("no", status=WorkerStatus.FAILED, exit_code=3)
    await mirror.sync()
    (row,) = mirror.buddy.memory.rows
    assert {"mahavishnu", f"task:{task}", "status:failed", "exit:3", "type:shell"} <= set(row.tags)


# --- nobody there


async def test_where_nobody_listens_it_is_said_and_arrives_later(mirror):
    mirror.buddy.kill()
    tasks = mirror.add_results(3)
    synced = await mirror.sync()
    assert synced.sent == ()
    assert (synced.backlog.count, synced.backlog.is_failing) == (3, True)
    assert synced.backlog.reason == f"nothing listens at {mirror.buddy.url}"
    assert "session_buddy_integration false" in synced.backlog.advice
    mirror.buddy.start()
    assert sorted((await mirror.sync()).sent) == sorted(tasks)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]


@pytest.mark.thorough
async def test_whoever_never_had_a_server_is_told_but_not_warned(mirror, monkeypatch):
    monkeypatch.setattr(delivery, "target_of", lambda *_: target)
    target = Target("http://127.0.0.1:9/mcp", (), "", "", {}, is_chosen=False)
    mirror.add_result()
    backlog = (await mirror.sync()).backlog
    assert (backlog.count, backlog.is_failing) == (1, False)
    assert backlog.reason == "nothing listens at http://127.0.0.1:9/mcp"


async def test_a_backlog_is_told_from_the_files_alone(mirror):
    mirror.add_results(2)
    mirror.buddy.kill()
    assert await mirror.backlog() == Backlog("session-buddy", 2)
    mirror.outbox.note_failure("x", "y")
    assert await mirror.backlog() == Backlog("session-buddy", 2, "x", "y", is_failing=True)


async def test_without_the_integration_nobody_is_asked_anything(mirror):
    mirror.add_result()
    mirror.set(integration="false")
    async with mirror.manager() as manager:
        assert await manager.backlogs() == []
        assert list(await manager.sync_results()) == []
    assert mirror.buddy.memory.calls == []


# --- what a server may do


LATER = {
    "500": (EVERYTHING, Status(500), "cannot be talked to"),
    "503": (EVERYTHING, Status(503), "cannot be talked to"),
    "no JSON": (EVERYTHING, Garbage(), "cannot be talked to"),
    "no JSON from the tool": (STORE, Garbage(), "store_reflection"),
    "500 from the tool": (STORE, Status(500), "store_reflection"),
    "broken before": (STORE, Drop(), "cannot be talked to|store_reflection"),
    "broken after": (STORE, Drop(after=True), "cannot be talked to|store_reflection"),
    "broken in the answer": (STORE, Drop(in_stream=True), "cannot be talked to|store_reflection"),
    "broken in the answer, after": (STORE, Drop(after=True, in_stream=True), "to|store_reflection"),
    "an error in words": (STORE, Says("❌ Validation error: no"), "❌ Validation error: no"),
    "a locked database": (STORE, Says(LOCKED), "Could not set lock on file"),
    "an error": (STORE, Says("boom", is_error=True), "boom"),
    "a pretence": (STORE, Pretence(), "does not find it again"),
    "no flush": (FLUSH, Says("❌ no"), "asked to write to its disk, it answered '❌ no'"),
    "broken at the flush": (FLUSH, Drop(), "cannot be talked to|reset_reflection_database"),
    "broken after the flush": (FLUSH, Drop(after=True), "cannot be talked to|reset_reflection"),
    "a search that fails": ("quick_search", Drop(), "cannot be talked to|quick_search"),
    "a wide search that fails": (
        "fingerprint_search",
        Says("Error in fingerprint search"),
        "Error in fingerprint",
    ),
    "a wide search that breaks": ("fingerprint_search", Drop(), "cannot be talked to|fingerprint_search"),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("place", "fault", "reason"), LATER.values(), ids=LATER)
async def test_c5_after_any_fault_each_result_is_there_once(mirror, monkeypatch, place, fault, reason):
    monkeypatch.setattr(delivery, "CALL_PATIENCE", 0.5)  # as long as a call that broke off may be under way
    tasks = mirror.add_results(3)
    if place == "fingerprint_search":  # it is asked only about what the quick search does not find
        mirror.buddy.faults.set("quick_search", Says("🔍 No results found"))
    mirror.buddy.faults.set(place, fault)
    synced = await mirror.sync()
    assert pytest.RaisesExc(ValueError, match=reason).matches(ValueError(synced.backlog.reason))
    assert synced.backlog.count > 0
    assert synced.backlog.is_failing
    mirror.buddy.faults.clear()
    assert (await mirror.sync()).backlog == Backlog("session-buddy", 0)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]
    assert sorted(mirror.outbox.sent()) == sorted(tasks)


@pytest.mark.thorough
async def test_an_error_in_words_after_it_has_stored_is_no_failure(mirror):
    task = mirror.add_result()
    mirror.buddy.faults.set(STORE, Says("Error storing reflection: late", after=True))
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


async def test_c5_an_answer_that_breaks_off_is_looked_up_before_it_is_sent_again(mirror):
    task = mirror.add_result()
    mirror.buddy.faults.set(STORE, Drop(after=True), times=1)
    await mirror.sync()
    assert (await mirror.sync()).sent == (task,)
    assert (mirror.calls(), mirror.copies(task)) == (1, 1)


@pytest.mark.thorough
async def test_a_sender_that_died_after_sending_sends_nothing_twice(mirror):
    task = mirror.add_result()
    await mirror.sync()
    mirror.outbox.mark_lost(task)
    mirror.outbox.mark_begun(task)  # as if it had died before it took a note
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_a_sender_that_died_before_sending_loses_nothing(mirror, monkeypatch):
    monkeypatch.setattr(delivery, "CALL_PATIENCE", 0.5)  # as long as it may be under way
    task = mirror.add_result()
    mirror.outbox.mark_begun(task)
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_what_the_server_is_still_storing_for_a_sender_that_is_gone_is_waited_for(mirror):
    task = mirror.add_result()
    await mirror.sync()
    (row,) = mirror.buddy.memory.flushed
    mirror.buddy.memory.flushed.clear()  # as if it had not come so far yet
    mirror.outbox.mark_lost(task)
    mirror.outbox.mark_begun(task)
    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        nursery.start_soon(manager.sync_results)
        await mirror.buddy.called("fingerprint_search")
        mirror.buddy.memory.flushed.append(row)
    assert mirror.outbox.sent() == [task]
    assert (mirror.calls(), mirror.copies(task)) == (1, 1)


async def test_what_was_not_written_to_disk_when_the_server_died_is_sent_again(mirror):
    task = mirror.add_result()
    mirror.buddy.faults.set(FLUSH, Drop(), times=1)
    await mirror.sync()
    assert mirror.copies(task) == 1
    mirror.buddy.kill()
    mirror.buddy.start()
    assert mirror.copies(task) == 0
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_a_large_answer_is_no_reason_to_fail(mirror):
    task = mirror.add_result()
    mirror.buddy.faults.set("quick_search", Flood(1 << 20))
    mirror.buddy.is_streaming = False
    assert (await mirror.sync()).sent == (task,)


@pytest.mark.thorough
@pytest.mark.parametrize("is_streaming", [True, False])
async def test_an_answer_that_is_too_large_is_a_failure_like_others(mirror, is_streaming):
    """Nobody has to hold what a server can send: a hostile one sends for ever."""
    task = mirror.add_result()
    mirror.buddy.is_streaming = is_streaming
    mirror.buddy.faults.set("quick_search", Flood(), times=1)
    assert (await mirror.sync()).backlog.count == 1
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_a_server_that_answers_in_plain_json_is_understood(mirror):
    mirror.buddy.is_streaming = False
    task = mirror.add_result()
    assert (await mirror.sync()).sent == (task,)


# --- refusals among others


@pytest.mark.thorough
async def test_one_that_is_refused_keeps_no_other_from_arriving(mirror):
    tasks = mirror.add_results(45)
    mirror.buddy.faults.set(STORE, Says("❌ not this one"), times=1)
    synced = await mirror.sync()
    assert (len(synced.sent), synced.backlog.count) == (44, 1)
    assert synced.backlog.reason == "it answered '❌ not this one'"
    assert len((await mirror.sync()).sent) == 1
    assert {mirror.copies(task) for task in tasks} == {1}


@pytest.mark.thorough
async def test_a_server_that_refuses_a_whole_batch_is_not_asked_for_the_next(mirror):
    mirror.add_results(45)
    mirror.buddy.faults.set(STORE, Says(LOCKED))
    await mirror.sync()
    assert mirror.calls() == delivery.BATCH


@pytest.mark.thorough
async def test_what_was_refused_comes_after_what_is_new(mirror):
    old = mirror.add_results(delivery.BATCH)
    mirror.buddy.faults.set(STORE, Says("❌ no"))
    await mirror.sync()
    new = mirror.add_result("new")
    mirror.buddy.faults.set(STORE, Says("❌ no"), times=1)
    await mirror.sync()
    assert mirror.outbox.waiting() == [new]
    assert {mirror.copies(task) for task in old} == {1}


# --- silence


@pytest.fixture
def hasty(monkeypatch):
    """A fraction of a second is long enough for a test to wait."""
    monkeypatch.setattr(server, "CALL_PATIENCE", 0.3)
    monkeypatch.setattr(server, "CONNECT_PATIENCE", 0.5)
    monkeypatch.setattr(server, "CLOSE_PATIENCE", 0.3)
    monkeypatch.setattr(delivery, "CALL_PATIENCE", 0.5)


@pytest.mark.thorough
@pytest.mark.parametrize("place", [EVERYTHING, "initialize", "tools/list", STORE, FLUSH, "quick_search"])
async def test_a_server_that_falls_silent_is_left_and_looked_up_later(mirror, hasty, place):
    task = mirror.add_result()
    mirror.buddy.faults.set(place, Silence())
    synced = await mirror.sync()
    assert synced.backlog.count == 1
    assert synced.backlog.reason
    mirror.buddy.faults.clear()
    mirror.buddy.release()
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_silence_from_the_beginning_is_said_as_that(mirror, hasty):
    mirror.add_result()
    mirror.buddy.faults.set(EVERYTHING, Silence())
    reason = (await mirror.sync()).backlog.reason
    assert reason == f"{mirror.buddy.url} has not answered for 0.5 s"


@pytest.mark.thorough
async def test_whoever_waits_for_a_silent_server_can_be_cancelled(mirror, monkeypatch):
    monkeypatch.setattr(delivery, "CALL_PATIENCE", 0.5)
    task = mirror.add_result()
    mirror.buddy.faults.set(STORE, Silence())
    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        nursery.start_soon(manager.sync_results)
        await mirror.buddy.called(STORE)
        nursery.cancel_scope.cancel()
    assert mirror.outbox.waiting() == [task]
    assert mirror.outbox.was_tried(task)
    mirror.buddy.faults.clear()
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


# --- verify


async def test_verify_sends_again_what_the_server_has_lost_and_only_that(mirror):
    kept, lost = mirror.add_result("kept"), mirror.add_result("lost")
    await mirror.sync()
    mirror.buddy.memory.forget(title(lost))
    synced = await mirror.sync(verify=True)
    assert (synced.sent, synced.lost) == ((lost,), (lost,))
    assert (mirror.copies(kept), mirror.copies(lost)) == (1, 1)
    synced = await mirror.sync(verify=True)
    assert (synced.sent, synced.lost) == ((), ())


@pytest.mark.thorough
async def test_verify_is_not_fooled_by_a_quotation(mirror):
    task = mirror.add_result()
    await mirror.sync()
    mirror.buddy.memory.forget(title(task))
    mirror.buddy.memory.call(STORE, {"content": f"see {delivery.token_of(task)} for more", "tags": []})
    assert (await mirror.sync(verify=True)).lost == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_verify_sees_a_letter_behind_a_newer_quotation(mirror):
    task = mirror.add_result()
    await mirror.sync()
    mirror.buddy.memory.call(STORE, {"content": f"see {delivery.token_of(task)} for more", "tags": []})
    assert (await mirror.sync(verify=True)).lost == ()
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_verify_also_sends_what_waits(mirror):
    sent = mirror.add_result("one")
    await mirror.sync()
    waiting = mirror.add_result("two")
    assert (await mirror.sync(verify=True)).sent == (waiting,)
    assert (mirror.copies(sent), mirror.copies(waiting)) == (1, 1)


@pytest.mark.thorough
async def test_verify_that_breaks_off_loses_nothing(mirror):
    tasks = mirror.add_results(3)
    await mirror.sync()
    mirror.buddy.memory.forget("mahavishnu ")
    mirror.buddy.faults.set("fingerprint_search", Drop(), times=1)
    await mirror.sync(verify=True)
    assert (await mirror.sync(verify=True)).backlog == Backlog("session-buddy", 0)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]


@pytest.mark.thorough
async def test_verify_at_a_server_that_cannot_be_asked_is_one_clear_line(mirror):
    mirror.add_result()
    await mirror.sync()
    del mirror.buddy.memory.offers["quick_search"], mirror.buddy.memory.offers["fingerprint_search"]
    backlog = (await mirror.sync(verify=True)).backlog
    assert backlog.reason == "the server has no tool to look things up with"


def title(task):
    return f"mahavishnu {delivery.token_of(task)}:"


# --- other servers


@pytest.mark.thorough
async def test_a_server_without_a_quick_search_is_asked_the_long_way(mirror):
    del mirror.buddy.memory.offers["quick_search"]
    tasks = mirror.add_results(25)
    assert len((await mirror.sync()).sent) == 25
    assert mirror.calls("fingerprint_search") == 2
    assert {mirror.copies(task) for task in tasks} == {1}


@pytest.mark.thorough
async def test_a_server_that_cannot_be_asked_is_believed(mirror):
    del mirror.buddy.memory.offers["quick_search"], mirror.buddy.memory.offers["fingerprint_search"]
    tasks = mirror.add_results(2)
    mirror.buddy.faults.set(STORE, Says("❌ no"), times=1)
    synced = await mirror.sync()
    assert (len(synced.sent), synced.backlog.count) == (1, 1)
    await mirror.sync()
    assert [mirror.copies(task) for task in tasks] == [1, 1]


@pytest.mark.thorough
async def test_a_server_that_cannot_flush_is_sent_to_all_the_same(mirror):
    del mirror.buddy.memory.offers[FLUSH]
    task = mirror.add_result()
    assert (await mirror.sync()).sent == (task,)


@pytest.mark.thorough
async def test_a_server_with_store_memory_gets_the_tags_as_metadata(mirror):
    del mirror.buddy.memory.offers[STORE]
    mirror.buddy.memory.offers["store_memory"] = STORE_MEMORY
    task = mirror.add_result()
    assert (await mirror.sync()).sent == (task,)
    (row,) = mirror.buddy.memory.rows
    assert row.metadata["id"] == delivery.token_of(task)
    assert f"task:{task}" in row.metadata["tags"]


@pytest.mark.thorough
async def test_a_tool_that_the_settings_name_is_called_as_they_say(mirror):
    mirror.buddy.memory.offers["store_memory"] = STORE_MEMORY
    mirror.set(tool="store_memory", arguments='{"content": "<{content}>", "metadata": {"name": "{id}"}}')
    task = mirror.add_result()
    del mirror.buddy.memory.offers["quick_search"], mirror.buddy.memory.offers["fingerprint_search"]
    assert (await mirror.sync()).sent == (task,)
    (row,) = mirror.buddy.memory.rows
    assert row.content.startswith("<mahavishnu mv1_")
    assert row.metadata == {"name": delivery.token_of(task)}


async def test_a_server_that_cannot_store_is_one_clear_line(mirror):
    del mirror.buddy.memory.offers[STORE]
    mirror.add_result()
    backlog = (await mirror.sync()).backlog
    assert backlog.reason == f"{mirror.buddy.url} has no tool 'store_reflection' or 'store_memory'"
    assert backlog.advice == "name one of its tools: 'mahavishnu config set session_buddy_tool NAME'"


@pytest.mark.thorough
async def test_a_tool_that_the_settings_name_and_nobody_has_is_one_clear_line(mirror):
    mirror.set(tool="remember")
    mirror.add_result()
    assert (await mirror.sync()).backlog.reason == f"{mirror.buddy.url} has no tool 'remember'"


@pytest.mark.thorough
async def test_a_token_is_sent_with_every_request(mirror):
    mirror.buddy.token = "tr0ub4dor"
    mirror.set(token="tr0ub4dor")
    task = mirror.add_result("the token is tr0ub4dor")
    assert (await mirror.sync()).sent == (task,)
    assert set(mirror.buddy.tokens) == {"Bearer tr0ub4dor"}
    assert "tr0ub4dor" not in mirror.buddy.memory.contents[0]


async def test_a_token_that_is_missing_or_wrong_is_said_and_not_shown(mirror):
    mirror.buddy.token = "tr0ub4dor"
    mirror.set(token="incorrect-horse")
    mirror.add_result()
    backlog = (await mirror.sync()).backlog
    assert backlog.reason == f"{mirror.buddy.url} cannot be talked to (HTTP status 401)"
    assert "MAHAVISHNU_SESSION_BUDDY_TOKEN" in backlog.advice
    assert "incorrect-horse" not in str(backlog)


# --- what is sent


@pytest.mark.thorough
async def test_a_value_of_a_worker_types_environment_does_not_leave(mirror):
    settings = '{"workers": [{"name": "shell", "env": {"API_TOKEN": "tr0ub4dor-and-3"}}]}'
    config = mirror.app.environ["HOME"] + "/.config/mahavishnu"
    await trio.Path(config).mkdir(parents=True)
    await trio.Path(config, "ecosystem.yaml").write_text(settings)
    mirror.set()
    mirror.add_result("tr0ub4dor-and-3", prompt="use tr0ub4dor-and-3")
    await mirror.sync()
    assert "tr0ub4dor" not in mirror.buddy.memory.contents[0]
    assert mirror.buddy.memory.contents[0].count("[redacted]") == 2


@pytest.mark.thorough
async def test_a_result_that_is_not_there_any_more_is_left_out(mirror):
    gone, there = mirror.add_result("gone"), mirror.add_result("there")
    shutil.rmtree(mirror.app.state.task(gone).directory.parent.parent)
    synced = await mirror.sync()
    assert (synced.sent, synced.backlog.count) == ((there,), 0)


@pytest.mark.thorough
async def test_a_result_of_a_megabyte_fits(mirror):
    task = mirror.add_result("x" * 1_000_000)
    assert (await mirror.sync()).sent == (task,)
    (row,) = mirror.buddy.memory.rows
    assert "quarantine" not in row.tags


@pytest.mark.thorough
async def test_twenty_senders_at_once_send_each_once(mirror):
    tasks = mirror.add_results(20)
    sent = []

    async def send(manager):
        (synced,) = await manager.sync_results()
        sent.extend(synced.sent)

    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(send, manager)
    assert sorted(sent) == sorted(tasks)
    assert {mirror.copies(task) for task in tasks} == {1}


@pytest.mark.thorough
async def test_whoever_waits_for_another_sender_is_told(mirror):
    task = mirror.add_result()
    notices = []
    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        with manager.listening(notices.append), mirror.outbox.try_lock():
            nursery.start_soon(manager.sync_results)
            while not notices:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert mirror.outbox.waiting() == [task]
    assert notices == ["waiting for another program that sends to session-buddy"]
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_a_fault_of_ours_is_noted_as_that(mirror, monkeypatch):
    mirror.add_result()
    monkeypatch.setattr(delivery, "compose", lambda *_: 1 / 0)
    await mirror.sync()
    assert "ZeroDivisionError" in (await mirror.backlog()).reason


@pytest.mark.thorough
async def test_a_failure_is_forgotten_once_nothing_waits(mirror):
    mirror.add_result()
    await mirror.sync()
    del mirror.buddy.memory.offers["quick_search"], mirror.buddy.memory.offers["fingerprint_search"]
    assert (await mirror.sync(verify=True)).backlog.is_failing
    assert await mirror.backlog() == Backlog("session-buddy", 0)
    assert (await mirror.sync()).backlog == Backlog("session-buddy", 0)


@pytest.mark.thorough
async def test_a_failure_of_what_is_gone_is_forgotten(mirror):
    task = mirror.add_result()
    mirror.buddy.refuse()
    await mirror.sync()
    mirror.outbox.drop(task)
    assert (await mirror.sync()).backlog == Backlog("session-buddy", 0)


@pytest.mark.thorough
async def test_verify_where_nobody_listens_says_so(mirror):
    mirror.add_result()
    await mirror.sync()
    mirror.buddy.refuse()
    backlog = (await mirror.sync(verify=True)).backlog
    assert (backlog.count, backlog.is_failing) == (0, True)
    assert backlog.reason == f"nothing listens at {mirror.buddy.url}"


@pytest.mark.thorough
async def test_whoever_breaks_off_forgets_no_failure(mirror):
    mirror.add_result()
    mirror.outbox.note_failure("x", "y")
    mirror.buddy.faults.set(STORE, Silence())
    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        nursery.start_soon(manager.sync_results)
        await mirror.buddy.called(STORE)
        nursery.cancel_scope.cancel()
    assert mirror.outbox.failure().reason == "x"


# --- lines of a log


async def keep_lines(mirror, *batches):
    worker = Worker("k3f9a2b1", WorkerType("watcher", "generic"), Path("/w"), "2026-11-29")
    async with mirror.manager() as manager:
        for batch in batches:
            kept = await manager.engine.store_log(worker, batch)
            assert kept["session-buddy"] is None


def batch(first: int, *texts: str) -> LogBatch:
    return LogBatch(first, texts, "2026-11-29T02:08:03+00:00")


@pytest.fixture
def no_relay(monkeypatch):
    """What is posted waits for ``sync``."""

    async def serve(self):
        await trio.sleep_forever()

    monkeypatch.setattr(dispatch.Dispatch, "leave", lambda self: None)
    monkeypatch.setattr(dispatch.Dispatch, "serve", serve)


async def test_lines_of_a_log_arrive_once_and_in_order(mirror, no_relay):
    await keep_lines(mirror, batch(1, "one", "two"), batch(3, "three"), batch(1, "one", "two"))
    assert len((await mirror.sync()).sent) == 2
    await keep_lines(mirror, batch(3, "three"))
    assert (await mirror.sync()).sent == ()
    assert [content.splitlines()[1:] for content in mirror.buddy.memory.contents] == [
        ["1: one", "2: two"],
        ["3: three"],
    ]


@pytest.mark.thorough
async def test_lines_of_a_log_survive_a_server_that_breaks_off(mirror, no_relay):
    await keep_lines(mirror, batch(1, "one"))
    mirror.buddy.faults.set(STORE, Drop(after=True), times=1)
    await mirror.sync()
    assert len((await mirror.sync()).sent) == 1
    assert len(mirror.buddy.memory.contents) == 1


@pytest.mark.thorough
async def test_what_was_sent_of_a_log_is_not_kept_here(mirror, no_relay):
    await keep_lines(mirror, batch(1, "one"))
    assert (mirror.outbox.root / "letters/k3f9a2b1.log.1").exists()
    await mirror.sync()
    assert list((mirror.outbox.root / "letters").iterdir()) == []


@pytest.mark.thorough
async def test_verify_asks_for_results_alone(mirror, no_relay):
    await keep_lines(mirror, batch(1, "one"))
    task = mirror.add_result()
    await mirror.sync()
    mirror.buddy.memory.forget("mahavishnu ")
    assert (await mirror.sync(verify=True)).lost == (task,)


# --- secrets that another sender does not know


@pytest.mark.thorough
async def test_a_secret_in_a_prompt_is_not_sent_by_one_who_does_not_know_it(mirror, no_relay, monkeypatch):
    state = mirror.app.state
    worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), Path("/w"), "2026-11-29")
    state.add_worker(worker)
    task = state.add_task(worker, "deploy with correct-horse", 300)
    mirror.settle(task, "done")
    monkeypatch.setenv("DEPLOY_TOKEN", "correct-horse")
    async with mirror.manager() as manager:
        await manager.engine.store(worker, task, state.result(task))
    monkeypatch.delenv("DEPLOY_TOKEN")
    assert (await mirror.sync()).sent == (task.task_id,)
    assert "prompt: deploy with [redacted]" in mirror.buddy.memory.contents[0]
    mirror.buddy.memory.forget("mahavishnu ")
    assert (await mirror.sync(verify=True)).sent == (task.task_id,)
    assert "correct-horse" not in mirror.buddy.memory.contents[0]


# --- what a review found


@pytest.mark.thorough
async def test_a_spoilt_entry_keeps_no_other_from_arriving(mirror):
    good, bad = mirror.add_result("good"), mirror.add_result("bad")
    (mirror.app.state.task(bad).directory / "result.json").write_text('{"status": "odd"}')
    (mirror.outbox.root / "outbox" / "directory").mkdir()
    synced = await mirror.sync()
    assert synced.sent == (good,)
    assert synced.backlog.count == 1
    assert f"the letter for {bad} cannot be made" in synced.backlog.reason


@pytest.mark.thorough
async def test_a_letter_that_a_power_cut_has_spoilt_is_made_anew(mirror):
    task = mirror.add_result()
    (mirror.outbox.root / "letters" / task).touch()
    assert (await mirror.sync()).sent == (task,)


@pytest.mark.thorough
async def test_many_quotations_do_not_hide_a_letter(mirror):
    task, other = mirror.add_result(), mirror.add_result()
    await mirror.sync()
    for number in range(20):
        mirror.buddy.memory.call(
            STORE, {"content": f"{number}: see {title(task)} and {title(other)}", "tags": []}
        )
    assert (await mirror.sync(verify=True)).lost == ()


@pytest.mark.thorough
async def test_a_quotation_of_a_title_is_not_the_letter(mirror):
    task = mirror.add_result()
    await mirror.sync()
    mirror.buddy.memory.forget(title(task))
    mirror.buddy.memory.call(STORE, {"content": f"it said {title(task)} completed", "tags": []})
    assert (await mirror.sync(verify=True)).lost == (task,)


@pytest.mark.thorough
async def test_a_letter_that_is_stored_after_the_connection_broke_is_waited_for(mirror):
    task = mirror.add_result()
    mirror.buddy.faults.set(STORE, Drop(), times=1)
    await mirror.sync()
    assert mirror.outbox.may_be_under_way(task, 75)
    (call,) = [arguments for name, arguments in mirror.buddy.memory.calls if name == STORE]
    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        nursery.start_soon(manager.sync_results)
        await mirror.buddy.called("fingerprint_search")
        mirror.buddy.memory.call(STORE, call)
    assert mirror.outbox.sent() == [task]
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_after_a_server_has_died_in_a_call_nobody_waits_for_it(mirror):
    task = mirror.add_result()
    mirror.buddy.faults.set(STORE, Silence())
    async with mirror.manager() as manager, trio.open_nursery() as nursery:
        nursery.start_soon(manager.sync_results)
        await mirror.buddy.called(STORE)
        await trio.to_thread.run_sync(mirror.buddy.kill)
    assert mirror.outbox.was_tried(task)
    assert not mirror.outbox.may_be_under_way(task, 75)


@pytest.mark.thorough
@pytest.mark.parametrize("answer", [Says("boom", is_error=True), Says("Error searching: no")])
async def test_a_look_up_that_fails_says_nothing_about_what_is_there(mirror, answer):
    del mirror.buddy.memory.offers["fingerprint_search"]
    task = mirror.add_result()
    mirror.buddy.faults.set("quick_search", answer)
    assert "asked what it has, it answered" in (await mirror.sync()).backlog.reason
    await mirror.sync()
    mirror.buddy.faults.clear()
    assert (await mirror.sync()).sent == (task,)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_a_batch_of_nothing_does_not_end_the_sending(mirror):
    names = mirror.add_results(2 * delivery.BATCH + 1)
    mirror.buddy.faults.set(STORE, Says("❌ no"), times=1)
    waiting = mirror.outbox.waiting()
    for name in waiting[delivery.BATCH : 2 * delivery.BATCH]:
        shutil.rmtree(mirror.app.state.task(name).directory.parent.parent)
    synced = await mirror.sync()
    assert (len(synced.sent), synced.backlog.count) == (len(names) - delivery.BATCH - 1, 1)


@pytest.mark.thorough
async def test_what_is_in_nobodys_hands_any_more_is_not_counted_as_lost(mirror):
    task = mirror.add_result()
    await mirror.sync()
    mirror.buddy.memory.forget("mahavishnu ")
    shutil.rmtree(mirror.app.state.task(task).directory.parent.parent)
    synced = await mirror.sync(verify=True)
    assert (synced.sent, synced.lost, synced.backlog.count) == ((), (), 0)


@pytest.mark.thorough
@pytest.mark.parametrize("results", [None, "x", 3])
async def test_a_search_that_answers_nonsense_is_a_failure_of_the_server(mirror, monkeypatch, results):
    mirror.add_result()
    mirror.buddy.faults.set("quick_search", Says("🔍 No results found"))
    monkeypatch.setitem(
        memory._WORK, "fingerprint_search", lambda *_, **__: {"success": True, "results": results}
    )
    assert "asked what it has, it answered" in (await mirror.sync()).backlog.reason


@pytest.mark.thorough
@pytest.mark.parametrize("token", ["tr0ub4dor\r", "tr0ub4dor\nX: y", "trüb4dor"])
async def test_a_token_that_no_header_can_hold_is_said_and_not_shown(mirror, token):
    mirror.set(token=token)
    mirror.add_result()
    backlog = (await mirror.sync()).backlog
    assert "MAHAVISHNU_SESSION_BUDDY_TOKEN has characters that cannot be sent" in backlog.reason
    assert "b4dor" not in str(backlog)
    assert mirror.buddy.tokens == []


@pytest.mark.thorough
async def test_a_server_that_repeats_the_token_does_not_have_it_shown(mirror):
    mirror.set(token="tr0ub4dor")
    mirror.add_result()
    mirror.buddy.faults.set(STORE, Says("❌ you said tr0ub4dor"))
    assert (await mirror.sync()).backlog.reason == "it answered '❌ you said [redacted]'"


@pytest.mark.thorough
async def test_no_proxy_gets_to_see_anything(mirror, monkeypatch):
    with closing(HttpBuddy()) as proxy:
        proxy.start()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        mirror.set(token="tr0ub4dor")
        task = mirror.add_result()
        assert (await mirror.sync()).sent == (task,)
        assert proxy.tokens == []


@pytest.mark.thorough
async def test_an_address_that_is_none_is_said(mirror):
    mirror.set(url="http://a..b/mcp")
    mirror.add_result()
    assert (await mirror.sync()).backlog.reason == "nothing listens at http://a..b/mcp"


@pytest.mark.thorough
async def test_a_break_in_a_call_is_said_as_that(mirror):
    mirror.add_result()
    mirror.buddy.faults.set(STORE, Drop())
    reason = (await mirror.sync()).backlog.reason
    assert "405" not in reason
    assert "400" not in reason
