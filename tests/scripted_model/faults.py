"""The scripts that fail: HTTP errors, broken connections, silence. ``hit`` is for faults that go away."""

from __future__ import annotations

from tests.scripted_model.conversation import Conversation, Failure, Fault, Reply, Text, say
from tests.scripted_model.registry import script

# Pauses between the words: what was sent right before a reset may never be seen.
_COUNTING = Text("one two three four five six seven eight nine ten " * 4, delay=0.05)


@script
def e400(c: Conversation) -> Failure:
    return Failure(400, "invalid_request_error", "messages: scripted bad request")


@script
def e401(c: Conversation) -> Failure:
    return Failure(401, "authentication_error", "invalid x-api-key")


@script
def e403(c: Conversation) -> Failure:
    return Failure(403, "permission_error", "scripted: not allowed")


@script
def e404_model(c: Conversation) -> Failure:
    return Failure(404, "not_found_error", f"model: {c.model}")


@script
def e429(c: Conversation) -> Failure:
    return Failure(429, "rate_limit_error", "scripted rate limit", {"retry-after": "2"})


@script
def e429_once(c: Conversation) -> Reply | Failure:
    return e429(c) if c.hit == 1 else say("Recovered after a rate limit.")


@script
def e429_long(c: Conversation) -> Failure:
    """An hour to wait."""
    return Failure(429, "rate_limit_error", "scripted rate limit", {"retry-after": "3600"})


@script
def e429_unified(c: Conversation) -> Failure:
    """With the headers that a used-up subscription carries."""
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": "1999999999",
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-unified-overage-status": "rejected",
        "retry-after": "3600",
    }
    return Failure(429, "rate_limit_error", "scripted: this account has used up its limit", headers)


@script
def e500(c: Conversation) -> Failure:
    return Failure(500, "api_error", "scripted internal error")


@script
def e500_once(c: Conversation) -> Reply | Failure:
    return e500(c) if c.hit == 1 else say("Recovered after a server error.")


@script
def e529(c: Conversation) -> Failure:
    return Failure(529, "overloaded_error", "Overloaded")


@script
def e529_once(c: Conversation) -> Reply | Failure:
    return e529(c) if c.hit == 1 else say("Recovered after an overload.")


@script
def die(c: Conversation) -> Reply:
    """The connection breaks in the middle of the answer, every time."""
    return Reply((_COUNTING,), fault=Fault("reset"))


@script
def die_once(c: Conversation) -> Reply:
    return die(c) if c.hit == 1 else say("Recovered after a broken stream.")


@script
def die_stream(c: Conversation) -> Reply:
    """Only streamed answers break."""
    return die(c) if c.streaming else say("Not streamed, but here.")


@script
def hang(c: Conversation) -> Reply:
    """The answer stops in the middle, the connection stays."""
    return Reply((_COUNTING,), fault=Fault("silence"))
