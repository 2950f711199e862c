"""What a task on the real codex, gemini or opencode comes to, by the plugins in ``contrib``."""

from __future__ import annotations

import hashlib
import json

import pytest

from mahavishnu_core.models import WorkerResult
from tests.real_cli.site import CODEX, ENVIRONMENTS, GEMINI, OPENCODE, Agent, Site, require_in_path

pytestmark = pytest.mark.real_cli


@pytest.fixture(params=[CODEX, GEMINI, OPENCODE], ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Agent:
    """Each of the three."""
    return request.param


@pytest.fixture
def clis(agent: Agent) -> None:
    """The one program and its plugin: a test needs no other."""
    hooks = pytest.importorskip(f"mahavishnu_{agent.name}.hooks", reason="its plugin is not installed")
    (kind,) = hooks.worker_types()
    require_in_path((agent,), f"{kind.install!r} installs it")


async def execute(site: Site, agent: Agent, whom: str, prompt: str, script: str) -> WorkerResult:
    """What came of a task whose agent hears the scripted model by its own settings."""
    env = ENVIRONMENTS[agent](site.model.url(site.key(script)), site.home)
    return await site.execute(whom, prompt, script=script, env=env)


async def test_a_task_gives_a_whole_result(site, agent):
    result = await execute(site, agent, agent.type, "Say hello", "hello")
    assert result.is_success(), result.error
    assert (result.output, result.exit_code) == ("Hello from the scripted model.", 0)
    assert result.metadata["warnings"] == []
    assert result.metadata["usage"]["input_tokens"] == 1000


async def test_a_second_task_on_a_worker_remembers_the_first(site, agent):
    first = await execute(site, agent, agent.type, "My name is Ada", "memory")
    second = await execute(site, agent, first.worker_id, "Who am I?", "memory")
    assert second.is_success(), second.error
    assert second.output == "turn 2; you said: My name is Ada | Who am I?"
    assert second.metadata["session_id"] == first.metadata["session_id"]


async def test_a_tool_call_does_its_work_in_the_workspace(site, agent):
    result = await execute(site, agent, agent.type, "Write it", "write_file")
    assert result.is_success(), result.error
    assert (site.work / "hello.txt").read_text() == "hello from a scripted model\n"
    assert result.metadata["tool_calls"] == 1


async def test_a_failed_request_is_a_failure(site, agent):
    result = await execute(site, agent, agent.type, "Go", "e401")
    assert (result.status.value, result.metadata["reason"]) == ("failed", "auth")
    assert "invalid x-api-key" in result.error


@pytest.mark.parametrize(
    "prompt",
    [
        "-what is this? --help",
        "Grüße 漢字 🙂 \u202e\nline two\t\"quoted\" 'too' \\ $HOME `id` %s {prompt} end",
    ],
    ids=["option", "unicode"],
)
async def test_any_prompt_arrives_as_it_was_given(site, agent, prompt):
    result = await execute(site, agent, agent.type, prompt, "echo")
    arrived = json.loads(result.output)
    assert arrived["sha256"] == hashlib.sha256(prompt.encode()).hexdigest(), arrived
