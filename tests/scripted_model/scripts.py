"""What the model says: one function a script, from the conversation so far to a reply.

Several steps are told apart by ``rounds``. The scripts that fail are in ``faults``.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import attrs

from tests.scripted_model import faults, mcp_scripts  # noqa: F401  # they register their scripts
from tests.scripted_model.calls import delegate, read, shell, write
from tests.scripted_model.conversation import Conversation, Reply, Text, Thinking, Usage, say
from tests.scripted_model.registry import script

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


@script
def hello(c: Conversation) -> Reply:
    return say("Hello from the scripted model.")


@script
def echo(c: Conversation) -> Reply:
    """Exactly which prompt arrived, as a JSON object."""
    arrived = c.prompt
    report: JSON = {
        "chars": len(arrived),
        "sha256": hashlib.sha256(arrived.encode()).hexdigest(),
        "head": arrived[:120],
        "tail": arrived[-40:],
    }
    return say(json.dumps(report, ensure_ascii=False))


@script
def memory(c: Conversation) -> Reply:
    said = " | ".join(prompt.strip()[:200] for prompt in c.prompts)
    return say(f"turn {len(c.prompts)}; you said: {said}")


@script
def think(c: Conversation) -> Reply:
    return Reply((Thinking("Let me think about this for a moment."), Text("I have thought about it.")))


@script
def long(c: Conversation) -> Reply:
    """A thousand words."""
    words = " ".join(f"word{number:04d}" for number in range(1000))
    return Reply((Text(words, size=45, delay=0.005),), usage=Usage(1000, 2000))


@script
def slow(c: Conversation) -> Reply:
    """A minute of text."""
    return Reply((Text(" ".join(f"tick{number:03d}" for number in range(240)), size=8, delay=0.25),))


@script
def empty(c: Conversation) -> Reply:
    return Reply()


@script
def refusal(c: Conversation) -> Reply:
    return Reply(stop="refusal")


@script
def limits_warning(c: Conversation) -> Reply:
    """A good answer with the headers of a subscription that is nearly used up."""
    return attrs.evolve(
        say("Fine, but close to the limit."),
        headers={
            "anthropic-ratelimit-unified-status": "allowed_warning",
            "anthropic-ratelimit-unified-reset": "1999999999",
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "anthropic-ratelimit-unified-5h-utilization": "0.91",
            "anthropic-ratelimit-unified-5h-reset": "1999999999",
        },
    )


@script
def write_file(c: Conversation) -> Reply:
    if c.rounds == 0:
        return Reply((Text("I will write the file."), write(c, "hello.txt", "hello from a scripted model\n")))
    return say(f"Done. The tool said: {c.result[:200]}")


@script
def two_tools(c: Conversation) -> Reply:
    """Two calls in one answer."""
    if c.rounds == 0:
        return Reply((Text("Writing two files."), write(c, "a.txt", "a\n"), write(c, "b.txt", "b\n")))
    return say(f"{len(c.results)} results came back.")


@script
def bash(c: Conversation) -> Reply:
    return _run(c, "echo out; echo err >&2; pwd; exit 3")


@script
def bash_ok(c: Conversation) -> Reply:
    return _run(c, "mkdir -p made && touch made/a && ls made")


@script
def obey(c: Conversation) -> Reply:
    """Runs what the prompt says, as a command line."""
    return _run(c, c.prompt.strip())


@script
def long_tool(c: Conversation) -> Reply:
    """A command that lasts a minute and has children of its own."""
    return _run(c, "echo started; sleep 61 & sleep 62; wait")


@script
def stubborn_tool(c: Conversation) -> Reply:
    """The same, deaf to every polite signal."""
    return _run(c, "trap '' TERM HUP INT; echo started; sleep 63 & sleep 64; wait")


@script
def background(c: Conversation) -> Reply:
    """A command left running behind the answer."""
    if c.rounds == 0:
        return Reply((shell(c, "sleep 65", background=True),))
    return say(f"Started. The tool said: {c.result[:300]}")


@script
def forever(c: Conversation) -> Reply:
    """Tool calls without end."""
    return Reply((Text(f"Step {c.rounds}."), shell(c, f"echo step {c.rounds}")))


@script
def costly(c: Conversation) -> Reply:
    """The same at a price: some dollars a step."""
    return attrs.evolve(forever(c), usage=Usage(200_000, 50_000))


@script
def subagent(c: Conversation) -> Reply:
    """A subtask for a subagent, which reads notes.txt and answers."""
    if c.prompt.startswith("SUBTASK"):
        if c.rounds == 0:
            return Reply((read(c, "notes.txt"),))
        return say("The subagent has read the notes.")
    if c.rounds == 0:
        return Reply((Text("Delegating."), delegate(c, "SUBTASK: read notes.txt and report")))
    return say(f"The subagent said: {c.result[:200]}")


@script
def rest_api(c: Conversation) -> Reply:
    """What "Implement a REST API" may lead to: looks for app.py, writes it, says what came of it."""
    if c.rounds % 2:
        return Reply((Text("Now I write the service."), write(c, "app.py", _REST_APP)))
    # Claude writes over a file only if it has read it since anybody last changed it: another worker may have.
    refused = "has not been read yet" in c.result or "has been modified since read" in c.result
    if c.rounds == 0 or (refused and c.rounds < 10):
        return Reply((Text("I look at what is there first."), read(c, "app.py")))
    return say(f"{_REST_DONE}\nThe last tool said: {c.result[:200]}")


def _run(c: Conversation, command: str) -> Reply:
    """One command, then what came of it."""
    if c.rounds == 0:
        return Reply((Text("Running a command."), shell(c, command)))
    return say(f"The tool said: {c.result[:300]}")


_REST_DONE = """\
I implemented a small REST API in `app.py`, with the standard library only:

- `GET /items` lists all items, `GET /items/<id>` shows one
- `POST /items` adds one, `DELETE /items/<id>` removes one

Start it with `python app.py`; it listens on port 8000.
"""

_REST_APP = '''\
"""A REST API for items, kept in memory."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count

ITEMS = {}
IDS = count(1)


class Items(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/items":
            self.answer(200, list(ITEMS.values()))
        else:
            item = ITEMS.get(self.path.removeprefix("/items/"))
            self.answer(200 if item else 404, item)

    def do_POST(self):
        item = json.loads(self.rfile.read(int(self.headers["content-length"])))
        item["id"] = str(next(IDS))
        ITEMS[item["id"]] = item
        self.answer(201, item)

    def do_DELETE(self):
        gone = ITEMS.pop(self.path.removeprefix("/items/"), None)
        self.answer(200 if gone else 404, gone)

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 8000), Items).serve_forever()
'''
