"""The outbox: what waits, what arrived, when to try again, and that one sends at a time."""

from __future__ import annotations

import os
import threading
import time

import attrs
import pytest

from mahavishnu_session_buddy.outbox import Failure, Outbox

FAILED_OFTEN = '{"reason": "a", "advice": "b", "attempts": "3", "at": 1.0}'


@pytest.fixture
def outbox(tmp_path):
    outbox = Outbox.of(tmp_path)
    outbox.prepare()
    return outbox


def modes(outbox):
    return {oct(path.stat().st_mode & 0o777) for path in outbox.root.rglob("*")}


def test_before_there_is_one_nothing_waits_and_nothing_was_sent(tmp_path):
    outbox = Outbox.of(tmp_path)
    assert (outbox.waiting(), outbox.sent(), outbox.failure(), outbox.canary()) == ([], [], None, "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_put_in_waits_until_it_is_sent(outbox):
    outbox.put("w.1")
    assert outbox.waiting() == ["w.1"]
    outbox.mark_begun("w.1")
    outbox.mark_sent("w.1")
    assert (outbox.waiting(), outbox.sent()) == ([], ["w.1"])


def test_what_was_sent_is_not_put_in_again(outbox):
    outbox.put("w.1")
    outbox.mark_sent("w.1")
    outbox.put("w.1")
    assert outbox.waiting() == []


def test_what_is_put_in_twice_keeps_that_it_was_tried(outbox):
    outbox.put("w.1")
    outbox.mark_begun("w.1")
    outbox.put("w.1")
    assert outbox.was_tried("w.1")
    assert outbox.waiting() == ["w.1"]


def test_what_was_lost_waits_anew_and_has_not_been_tried(outbox):
    outbox.put("w.1")
    outbox.mark_begun("w.1")
    outbox.mark_sent("w.1")
    outbox.mark_lost("w.1")
    assert (outbox.waiting(), outbox.sent(), outbox.was_tried("w.1")) == (["w.1"], [], False)


def test_the_oldest_comes_first_and_what_was_tried_comes_last(outbox):
    for age, name in enumerate(["new.1", "middle.1", "old.1", "tried.1"]):
        outbox.put(name)
        if name == "tried.1":
            outbox.mark_begun(name)
        os.utime(outbox.root / "outbox" / name, (100 - age, 100 - age))
    assert outbox.waiting() == ["old.1", "middle.1", "new.1", "tried.1"]


def test_what_is_dropped_is_gone_and_may_be_gone_already(outbox):
    outbox.put("w.1")
    outbox.drop("w.1")
    outbox.drop("w.1")
    assert outbox.waiting() == []
    assert not outbox.was_tried("w.1")


def test_a_sending_that_was_begun_may_be_under_way_for_a_while(outbox):
    outbox.put("w.1")
    assert not outbox.may_be_under_way("w.1", 75)
    outbox.mark_begun("w.1")
    assert outbox.may_be_under_way("w.1", 75)
    assert not outbox.may_be_under_way("w.1", 0)
    os.utime(outbox.root / "outbox/w.1", (100, 100))
    assert not outbox.may_be_under_way("w.1", 75)
    outbox.mark_begun("w.1")
    assert outbox.may_be_under_way("w.1", 75)


def test_a_sending_that_was_seen_to_end_is_over_and_was_tried(outbox):
    outbox.put("w.1")
    outbox.mark_begun("w.1")
    outbox.mark_over("w.1")
    assert outbox.was_tried("w.1")
    assert not outbox.may_be_under_way("w.1", 75)


def test_a_clock_that_was_set_back_leaves_nothing_under_way(outbox):
    outbox.put("w.1")
    outbox.mark_begun("w.1")
    os.utime(outbox.root / "outbox/w.1", (time.time() + 1000, time.time() + 1000))
    assert not outbox.may_be_under_way("w.1", 75)


def test_what_is_not_there_is_not_under_way(outbox):
    assert not outbox.may_be_under_way("w.1", 75)


def test_everything_is_for_its_owner_alone(outbox):
    before = os.umask(0)
    try:
        outbox.put("w.1")
        outbox.note_failure("x", "y")
        outbox.keep_canary("z")
        with outbox.turn():
            pass
    finally:
        os.umask(before)
    assert modes(outbox) == {"0o700", "0o600"}


def test_a_link_that_somebody_planted_is_not_followed(outbox, tmp_path):
    (outbox.root / "outbox" / "w.1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        outbox.put("w.1")
    assert not (tmp_path / "elsewhere").exists()


# --- failures


def test_failures_are_counted_until_one_attempt_goes_well(outbox):
    outbox.note_failure("a", "do a")
    outbox.note_failure("b", "do b")
    failure = outbox.failure()
    assert (failure.reason, failure.advice, failure.attempts) == ("b", "do b", 2)
    outbox.note_success()
    outbox.note_success()
    assert outbox.failure() is None
    outbox.note_failure("c", "")
    assert outbox.failure().attempts == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"reason": 1, "odd": 2}', FAILED_OFTEN])
def test_a_note_that_is_spoilt_is_none(outbox, content):
    (outbox.root / "failure.json").write_text(content)
    assert outbox.failure() is None


def test_pauses_grow_and_have_a_bound():
    now = time.time()
    pauses = [Failure("", "", attempts, now).seconds_left for attempts in (1, 2, 3, 7, 8, 1000)]
    assert [round(pause, -1) for pause in pauses[:3]] == [0, 10, 20]
    assert 4 < pauses[0] <= 5
    assert all(290 < pause <= 300 for pause in pauses[3:])


def test_a_pause_passes():
    assert Failure("", "", 1, time.time() - 4).seconds_left < 1.1
    assert Failure("", "", 1, time.time() - 6).seconds_left == 0


def test_a_clock_that_was_set_back_keeps_nobody_waiting():
    assert Failure("", "", 9, time.time() + 86_400).seconds_left == 0


# --- one sender at a time


def test_one_has_the_lock_at_a_time(outbox):
    with outbox.try_lock() as first, outbox.try_lock() as second:
        assert (first, second) == (True, False)
    with outbox.try_lock() as third:
        assert third


def test_a_lock_is_given_back_by_an_error(outbox):
    with pytest.raises(ZeroDivisionError), outbox.try_lock():
        raise ZeroDivisionError
    with outbox.try_lock() as mine:
        assert mine


@attrs.define
class Waiter:
    """Waits for its turn in a thread."""

    outbox: Outbox
    has_turn: threading.Event = attrs.field(factory=threading.Event)
    answers: list[bool] = attrs.field(factory=list)

    def run(self):
        with self.outbox.turn() as mine:
            self.answers.append(mine)
            self.has_turn.set()


def is_queued(outbox):
    """Whether somebody waits for his turn; looked at as another program would."""
    with outbox._lock_file("next") as queue:
        try:
            import fcntl

            fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_one_waits_for_its_turn_and_the_next_is_sent_away(outbox):
    waiter = Waiter(outbox)
    thread = threading.Thread(target=waiter.run)
    with outbox.try_lock() as mine:
        assert mine
        thread.start()
        while not is_queued(outbox):
            os.sched_yield()
        with outbox.turn() as second:
            assert not second
        assert not waiter.has_turn.is_set()
    thread.join()
    assert waiter.answers == [True]
    with outbox.turn() as free_again:
        assert free_again


def test_a_note_that_cannot_be_written_leaves_no_draft(outbox, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        outbox.note_failure("a", "b")
    assert [path.name for path in outbox.root.iterdir() if path.is_file()] == []


def test_what_is_no_file_of_ours_does_not_wait(outbox):
    (outbox.root / "outbox" / "directory").mkdir()
    (outbox.root / "outbox" / "link").symlink_to("/etc/passwd")
    assert outbox.waiting() == []
