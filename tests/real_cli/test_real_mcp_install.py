"""What ``mahavishnu mcp install`` writes, as the clients themselves see it, and as workers find it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.real_cli.site import (
    CLAUDE,
    CODEX,
    ENVIRONMENTS,
    GEMINI,
    OPENCODE,
    PROGRAM,
    QWEN,
    Agent,
    Site,
    require_in_path,
)
from tests.scripted_model import clients

pytestmark = pytest.mark.real_cli

LISTED = {
    CLAUDE: f"mahavishnu: {PROGRAM} mcp serve - ✔ Connected",
    # it does not try to connect
    CODEX: f"mahavishnu {PROGRAM} mcp serve MAHAVISHNU_STATE_DIR=***** - enabled",
    GEMINI: f"✓ mahavishnu: {PROGRAM} mcp serve (stdio) - Connected",
    OPENCODE: f"✓ mahavishnu connected │ {PROGRAM} mcp serve",
    QWEN: f"✓ mahavishnu: {PROGRAM} mcp serve (stdio) - Connected",
}
ELSEWHERE = {
    CLAUDE: "CLAUDE_CONFIG_DIR",
    CODEX: "CODEX_HOME",
    GEMINI: "GEMINI_CLI_HOME",
    OPENCODE: "XDG_CONFIG_HOME",
    QWEN: "QWEN_HOME",
}
"""The variable that tells a client to keep its configuration in another place than usual."""
_CLAUDE_TYPE = """\
workers:
  - name: claude-mcp
    agent: claude
    command_template: "claude --output-format stream-json --allowedTools mcp__mahavishnu__worker_spawn"
"""


@pytest.fixture(params=ENVIRONMENTS, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Agent:
    """Each client that we know."""
    return request.param


@pytest.fixture
def clis(agent: Agent) -> None:
    """The one program: a test needs no other."""
    require_in_path((agent,), "'nox -s real_clis' installs all and runs these tests")


_TRIES = 5
"""gemini and qwen give a server some seconds to answer, which is little on a busy machine."""


def fresh_home(site: Site) -> dict[str, str | None]:
    """An environment in which no client has any configuration yet."""
    home = site.root / "fresh"
    home.mkdir()
    nothing_fetched = clients.opencode_env(site.model.url("hello"), home)
    unset = dict.fromkeys([f"XDG_{name}_HOME" for name in ("CONFIG", "STATE", "DATA", "CACHE")])
    return {**unset, **nothing_fetched, "GEMINI_CLI_TRUST_WORKSPACE": "true"}


@pytest.mark.parametrize("place", ["at home", "elsewhere"])
async def test_a_client_finds_the_server_that_was_installed_for_it(site, agent, place):
    env = fresh_home(site)
    if place == "elsewhere":
        env[ELSEWHERE[agent]] = str(site.root / "elsewhere")
    install = ["mcp", "install", "--client", agent.name, "--yes"]
    installed = await site.run(*install, env=env)
    assert installed.code == 0, installed
    assert Path(installed.out.split()[-1]).is_relative_to(
        site.root / ("fresh" if place == "at home" else "elsewhere")
    )
    for _ in range(_TRIES):
        done = await site.run_program([agent.name, "mcp", "list"], "hello", env)
        if LISTED[agent] in _plain(done.out + done.err):
            break
    else:
        pytest.fail(f"{agent.name} does not list it: {done}")
    again = await site.run(*install, env=env)
    assert again.out.endswith(" has it already\n")


async def test_a_worker_whose_agent_has_the_server_starts_no_workers(site, agent):
    (site.config / "ecosystem.yaml").write_text(_CLAUDE_TYPE)
    env = ENVIRONMENTS[agent](site.model.url(site.key("spawn_worker")), site.home)
    installed = await site.run("mcp", "install", "--client", agent.name, "--yes", env=env)
    assert installed.code == 0, installed
    kind = "claude-mcp" if agent is CLAUDE else agent.type  # the others use such a tool without asking
    result = await site.execute(kind, "shell: echo second generation", script="spawn_worker", env=env)
    assert result.is_success(), result
    assert "this is itself a worker (depth 1), and workers may be nested 1 deep" in result.output
    workers = (await site.run("workers", "list", "--all", "--json")).json
    assert [worker["worker_id"] for worker in workers] == [result.worker_id]


def _plain(text: str) -> str:
    """Without colours, and all white space the same."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
