"""The bearer token: where it comes from, and who may read it."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mahavishnu_core.errors import StateDirError, UsageError
from mahavishnu_mcp.token import FILE, VARIABLE, kept_token, token_in

GOOD = "sixteen-letters!"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- one that is given


@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}])
def test_no_variable_gives_no_token(environ):
    assert token_in(environ) is None


@pytest.mark.parametrize("token", [GOOD, "0123456789abcdef" * 100])
def test_the_variable_gives_the_token(token):
    assert token_in({VARIABLE: token}) == token


@pytest.mark.parametrize(
    "token",
    [
        GOOD[:-1],
        "swordfish",
        "with a space, and long enough",
        GOOD + "\n",
        GOOD + "\x1b",
        "schlüssel-schlüssel",
        GOOD + "\udcff",
    ],
)
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused_on_one_line(token):
    with pytest.raises(UsageError, match="at least 16 printable ASCII characters") as caught:
        token_in({VARIABLE: token})
    assert len(str(caught.value).splitlines()) == 1
    assert token not in str(caught.value).replace(VARIABLE, "")


@given(token=st.text(min_size=1))
@example(token=GOOD)
def test_whatever_is_let_through_can_stand_in_a_header(token):
    try:
        given_token = token_in({VARIABLE: token})
    except UsageError:
        return
    assert f"Bearer {given_token}".encode("ascii").split(b" ") == [b"Bearer", token.encode()]
    assert len(token) >= 16


# --- one that is made and kept


def test_the_first_start_makes_one_and_the_next_finds_it(tmp_path):
    token, file = kept_token(tmp_path)
    assert file == tmp_path / FILE
    assert len(token) >= 32
    assert kept_token(tmp_path) == (token, file)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_each_state_directory_has_its_own(tmp_path):
    tokens = set()
    for name in "abc":
        (tmp_path / name).mkdir()
        tokens.add(kept_token(tmp_path / name)[0])
    assert len(tokens) == 3


def test_h1_it_is_its_owners_alone_from_its_first_instant(tmp_path, monkeypatch):
    seen: dict[str, int] = {}

    def make(size: int) -> str:
        seen.update({path.name: mode_of(path) for path in tmp_path.iterdir()})
        return "t" * size

    monkeypatch.setattr(secrets, "token_urlsafe", make)
    before = os.umask(0)
    try:
        _, file = kept_token(tmp_path)
    finally:
        os.umask(before)
    assert len(seen) == 1  # it was there, and empty, before there was a token
    assert set(seen.values()) == {0o600}
    assert mode_of(file) == 0o600


@pytest.mark.parametrize("round", range(5))
def test_servers_that_start_at_the_same_time_agree_on_one(tmp_path, round):
    gate = threading.Barrier(16)

    def start(_: int) -> str:
        gate.wait()
        return kept_token(tmp_path)[0]

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(start, range(16)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610, 0o601])
def test_one_that_others_may_use_is_refused_and_stays_as_it_is(tmp_path, mode):
    file = tmp_path / FILE
    file.write_text(GOOD)
    file.chmod(mode)
    _require_refused(tmp_path, "others may read .*: delete it")
    assert (file.read_text(), mode_of(file)) == (GOOD, mode)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"short\n", b"two words, long enough\n", b"\xff\xfe" * 20, b"\0" * 40]
)
def test_a_file_without_a_token_is_refused(tmp_path, text):
    file = tmp_path / FILE
    file.touch(0o600)
    file.write_bytes(text)
    _require_refused(tmp_path, "holds no token: delete it")


def test_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(0o600)
    elsewhere.write_text(GOOD)
    (tmp_path / FILE).symlink_to(elsewhere)
    _require_refused(tmp_path, "cannot use")


def test_a_link_to_nothing_is_not_followed_either(tmp_path):
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    _require_refused(tmp_path, "cannot use")
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_and_a_pipe_are_no_tokens(tmp_path):
    (tmp_path / FILE).mkdir(0o700)
    _require_refused(tmp_path, "cannot use")
    (tmp_path / FILE).rmdir()
    os.mkfifo(tmp_path / FILE, 0o600)
    _require_refused(tmp_path, "holds no token")


def test_a_state_directory_that_is_not_there_is_said(tmp_path):
    _require_refused(tmp_path / "nowhere", "cannot use")


def _require_refused(state_dir: Path, why: str) -> None:
    with pytest.raises(StateDirError, match=why) as caught:
        kept_token(state_dir)
    assert len(str(caught.value).splitlines()) == 1
    assert GOOD not in str(caught.value)
    assert caught.value.exit_status == 4
