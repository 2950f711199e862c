"""Who gets through to the protocol over HTTP: names of hosts, origins, tokens, and how much at once."""

from __future__ import annotations

import hmac
import logging
from types import SimpleNamespace

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from trio.testing import MockClock, wait_all_tasks_blocked

from mahavishnu_mcp import guard as guard_module
from mahavishnu_mcp.guard import LONGEST_BODY, Guard, security_for

from .serving import BEARER, TOKEN, ask

HOST = (b"host", b"localhost:8765")
PAGE = (b"origin", b"http://localhost:8765")
TOOLS = b"a list of tools"
"""What only those may see who are let through."""


def with_token(value: bytes) -> tuple[bytes, bytes]:
    return (b"authorization", value)


async def inner(scope, receive, send) -> None:
    """The application behind the guard: takes in the whole body, and answers its length."""
    body, message = b"", {"more_body": True}
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    await PlainTextResponse(TOOLS + b" %d" % len(body))(scope, receive, send)


def guard_of(app=inner) -> Guard:
    return Guard(app, TOKEN, security_for(("localhost:8765", "[::1]:8765", "machine.example")))


# --- tokens


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
async def test_the_right_token_is_let_through_in_any_case_of_the_scheme(scheme):
    answer = await ask(guard_of(), HOST, with_token(scheme + b" " + TOKEN.encode()), body=b"12345")
    assert (answer.status, answer.body) == (200, TOOLS + b" 5")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer wrong",
        b"Bearer " + TOKEN[:-1].encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN.upper().encode(),
        b"Bearer " + TOKEN.encode() + b", Bearer " + TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b"Token " + TOKEN.encode(),
        TOKEN.encode(),
        b" " + TOKEN.encode(),
        b"Bearer\t" + TOKEN.encode(),
        b"Bearer \xff\xfe\x00",
    ],
)
async def test_any_other_token_is_refused(value):
    _require_refused(await ask(guard_of(), HOST, with_token(value)))


async def test_no_token_is_refused():
    _require_refused(await ask(guard_of(), HOST))


@pytest.mark.parametrize("name", [b"authorization-x", b"x-authorization", b"proxy-authorization", b"cookie"])
async def test_a_token_in_another_header_does_not_count(name):
    _require_refused(await ask(guard_of(), HOST, (name, BEARER[1])))


@pytest.mark.parametrize("query", ["token=%s", "access_token=%s", "authorization=Bearer+%s", "%s"])
async def test_a_token_in_the_url_does_not_count(query):
    _require_refused(await ask(guard_of(), HOST, query=(query % TOKEN).encode()))


@pytest.mark.parametrize("other", [BEARER[1], b"Bearer wrong", b""])
async def test_two_tokens_are_one_too_many(other):
    for pair in ((BEARER, with_token(other)), (with_token(other), BEARER)):
        _require_refused(await ask(guard_of(), HOST, *pair))


@pytest.mark.parametrize("path", ["/", "/mcp", "/mcp/", "/sse", "/.well-known/oauth-protected-resource"])
async def test_no_path_is_open(path):
    _require_refused(await ask(guard_of(), HOST, path=path))


@given(value=st.binary(max_size=60).filter(lambda value: TOKEN.encode() not in value))
@example(value=b"Bearer " + TOKEN[:-1].encode())
def test_what_does_not_hold_the_token_is_refused(value):
    _require_refused(trio.run(lambda: ask(guard_of(), HOST, with_token(value))))


def _require_refused(answer) -> None:
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="mahavishnu"'
    assert answer.headers["connection"] == "close"
    assert TOOLS not in answer.body
    assert TOKEN.encode() not in answer.body


async def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(guard_module, "hmac", SimpleNamespace(compare_digest=compare))
    given = [TOKEN.encode(), b"wrong", TOKEN[:-1].encode()]
    statuses = [(await ask(guard_of(), HOST, with_token(b"Bearer " + each))).status for each in given]
    assert statuses == [200, 401, 401]
    assert compared == [{each, TOKEN.encode()} for each in given]


async def test_the_token_stands_in_no_log_and_no_representation(caplog):
    caplog.set_level(logging.DEBUG)
    guard = guard_of()
    evil = (b"host", b"evil.example")
    for headers in [(HOST, BEARER), (HOST, with_token(b"Basic " + TOKEN.encode())), (evil, BEARER)]:
        await ask(guard, *headers, query=b"x=1")
    assert "evil.example" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(guard)


# --- hosts and origins


@pytest.mark.parametrize("host", [b"localhost:8765", b"[::1]:8765", b"machine.example"])
async def test_a_host_of_ours_is_let_through(host):
    assert (await ask(guard_of(), (b"host", host), BEARER)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"evil.example:8765",
        b"localhost",
        b"localhost:1",
        b"localhost:8765.evil.example",
        b"localhost:87650",
        b"evil.example/localhost:8765",
        b"localhost:8765@evil.example",
        b"machine.example.evil.example",
        b"[::1]",
        b"[::1]:1",
        b"[::2]:8765",
        b"::1:8765",
        b"[::ffff:127.0.0.1]:8765",
        b"0.0.0.0:8765",
        b"localhost:8765\xff",
    ],
)
async def test_any_other_host_is_refused_with_and_without_a_token(host):
    for more in ((), (BEARER,)):
        answer = await ask(guard_of(), (b"host", host), *more)
        assert (answer.status, answer.headers["connection"]) == (421, "close")
        assert TOOLS not in answer.body


async def test_no_host_is_refused():
    assert (await ask(guard_of(), BEARER)).status == 421


@pytest.mark.parametrize(
    "origin",
    [b"http://localhost:8765", b"https://localhost:8765", b"http://[::1]:8765", b"https://machine.example"],
)
async def test_an_origin_of_ours_is_let_through(origin):
    assert (await ask(guard_of(), HOST, BEARER, (b"origin", origin))).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"http://evil.example",
        b"http://localhost",
        b"http://localhost:1",
        b"http://localhost:8765.evil.example",
        b"http://localhost:8765/",
        b"localhost:8765",
        b"file://localhost:8765",
        b"http://[::2]:8765",
        b"http://[fe80::1%25lo]:8765",
        b"\xff",
    ],
)
async def test_any_other_origin_is_refused_with_and_without_a_token(origin):
    for more in ((), (BEARER,)):
        answer = await ask(guard_of(), HOST, (b"origin", origin), *more)
        assert (answer.status, answer.headers["connection"]) == (403, "close")
        assert TOOLS not in answer.body


async def test_the_host_is_looked_at_first():
    answer = await ask(guard_of(), (b"host", b"evil.example"), (b"origin", b"http://evil.example"))
    assert answer.status == 421


async def test_no_page_gets_leave_to_read_answers():
    answer = await ask(guard_of(), HOST, BEARER, PAGE)
    assert not [name for name in answer.headers if name.startswith("access-control")]


# --- how much and how slowly


@pytest.mark.parametrize(("size", "status"), [(LONGEST_BODY, 200), (LONGEST_BODY + 1, 413)])
async def test_a_body_is_bounded(size, status):
    answer = await ask(guard_of(), HOST, BEARER, body=b"x" * size)
    assert answer.status == status


async def test_a_body_without_end_is_read_up_to_the_bound():
    taken = 0

    async def receive():
        nonlocal taken
        taken += 65536
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    assert await _status(guard_of(), receive) == 413
    assert taken <= LONGEST_BODY + 65536


async def test_the_body_of_one_without_a_token_is_not_read():
    async def receive():
        raise AssertionError("read")

    assert await _status(guard_of(), receive, HOST) == 401


async def test_a_slow_body_is_not_waited_for(autojump_clock: MockClock):
    async def receive():
        await trio.sleep(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    began = trio.current_time()
    assert await _status(guard_of(), receive) == 408
    assert trio.current_time() - began == guard_module._BODY_PATIENCE


async def test_a_body_that_breaks_off_does_not_get_through():
    async def receive():
        return {"type": "http.disconnect"}

    assert await _status(guard_of(), receive) is None


async def test_a_client_that_leaves_later_is_told_to_the_application():
    heard = []

    async def listen(scope, receive, send):
        heard.extend([(await receive())["type"], (await receive())["type"]])

    messages = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    await _status(guard_of(listen), receive)
    assert heard == ["http.request", "http.disconnect"]


async def test_requests_under_way_are_bounded_and_room_is_made_again(nursery: trio.Nursery):
    async def hang(scope, receive, send):
        await trio.sleep_forever()

    guard = guard_of(hang)
    async with trio.open_nursery() as calls:
        for _ in range(guard_module._MOST_REQUESTS):
            calls.start_soon(ask, guard, HOST, BEARER)
        await wait_all_tasks_blocked()
        answer = await ask(guard, HOST, BEARER)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await ask(guard, HOST)).status == 401  # who has no token is told nothing of it
        calls.cancel_scope.cancel()
    guard._app = inner
    assert (await ask(guard, HOST, BEARER)).status == 200


async def _status(guard: Guard, receive, *headers: tuple[bytes, bytes]) -> int | None:
    said = []

    async def send(message):
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b""}
    await guard(scope | {"headers": list(headers or (HOST, BEARER))}, receive, send)
    return said[0]["status"] if said else None
