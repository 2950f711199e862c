"""Section I of the fault matrix: settings and batches that are wrong, absurd, or somebody else's."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from .site import Ran, Site

SECRET = "hunter2-canary"
WRONG = {
    "mahavishnu.yaml": f"""\
max_concurent_workers: 3
worker_timeout_seconds: -1
workers_enabled: "{SECRET}"
max_worker_depth: 1000000000
worker_timeout_seconds: 60
session_buddy_url: "http://me:{SECRET}@host/mcp"
""",
    "ecosystem.yaml": f"""\
workers:
  - name: terminal-claude
    timeout_seconds: 5m
    env: {{TOKEN: [{SECRET}]}}
  - name: terminal-claude
    comand_template: {SECRET}
""",
}
FAULTS = [
    "mahavishnu.yaml:1: max_concurent_workers: is not a setting (did you mean 'max_concurrent_workers'?)",
    "mahavishnu.yaml:2: worker_timeout_seconds: must be from 30 to 3600",
    "mahavishnu.yaml:3: workers_enabled: wanted true or false, got text",
    "mahavishnu.yaml:4: max_worker_depth: must be from 1 to 10",
    "mahavishnu.yaml:5: worker_timeout_seconds: is here twice, first on line 2",
    "mahavishnu.yaml:6: session_buddy_url: must be an http:// or https:// address",
    "ecosystem.yaml:3: workers[0].timeout_seconds: wanted a number, got text",
    "ecosystem.yaml:4: workers[0].env.TOKEN: wanted text, got a list",
    "ecosystem.yaml:5: workers[1].name: 'terminal-claude' is here twice",
    "ecosystem.yaml:6: workers[1].comand_template: is not known here (did you mean 'command_template'?)",
    "environment: MAHAVISHNU_MAX_WORKER_DEPTH: wanted a whole number, got text",
]


@pytest.fixture
def user(site: Site) -> Path:
    """Where the user's own settings are."""
    directory = site.home / ".config/mahavishnu"
    directory.mkdir(parents=True)
    return directory


def refused(site: Site, *words: str) -> list[str]:
    """What a command says that is refused for its settings, without the program's name before each line."""
    ran = site.run(*words)
    assert (ran.status, ran.out) == (2, ""), ran.err
    return said(ran)


def said(ran: Ran) -> list[str]:
    lines = ran.err.splitlines()
    assert [line for line in lines if not line.startswith("mahavishnu: ")] == []
    return [line.removeprefix("mahavishnu: ") for line in lines]


def test_i1_all_faults_are_said_at_once_with_file_line_and_key_and_no_value(site: Site, user: Path) -> None:
    for name, text in WRONG.items():
        (user / name).write_text(text)
    site.more["MAHAVISHNU_MAX_WORKER_DEPTH"] = SECRET
    for command in ("config check", "workers types", "workers execute -t shell -p x", "workers health"):
        lines = refused(site, *command.split())
        told = [line.replace(f"{user}/", "") for line in lines]
        assert [fault for fault in FAULTS if not any(line.startswith(fault) for line in told)] == []
        assert SECRET not in "".join(lines)
        assert len(lines) == len(FAULTS)
    assert not (site.state / "workers").exists()


CANARY = "touch canary"
BOMB = ", ".join(f"&{name} [*{before}, *{before}, *{before}]" for before, name in pairwise("abcdefghij"))
ABSURD = {
    "an object": f"pass_env: !!python/object/apply:os.system ['{CANARY}']\n",
    "a process": f"pass_env: !!python/object/new:subprocess.Popen [['/bin/sh', -c, '{CANARY}']]\n",
    "aliases": f"pass_env: [&a [x, x, x], {BOMB}]\n",
    "10 MB": "pass_env: [" + "AAAAAAA, " * 1_200_000 + "]\n",
    "depth": "[" * 1_000_000,
    "tabs": "workers_enabled:\n\ttrue\n",
    "a byte order mark": "\ufeffworkers_enabled: true\n",
    "no text": "workers_enabled: \0\n",
}


@pytest.mark.parametrize("what", ABSURD)
def test_i2_absurd_yaml_is_refused_in_one_line_within_a_moment(site: Site, user: Path, what: str) -> None:
    (user / "mahavishnu.yaml").write_text(ABSURD[what])
    ran = site.run("config", "check")
    lines = said(ran)
    assert (ran.status, ran.out) == (2, "")
    assert str(user / "mahavishnu.yaml") in lines[0]
    assert len(lines[0]) < 300
    assert ran.seconds < 5
    assert list(site.root.rglob("canary")) == []


ABSURD_BATCHES = {
    "an object.yaml": f"- prompt: !!python/object/apply:os.system ['{CANARY}']\n",
    "aliases.yaml": f"- {{prompt: x, repo: [&a [x, x, x], {BOMB}], id: *j}}\n",
    "10 MB.yaml": "- {prompt: x}\n" * 800_000,
    "depth.yaml": "- " * 50_000,
    "depth in flow.yaml": "[" * 1_000_000,
    "depth.json": "[" * 1_000_000,
    "depth.jsonl": '{"prompt":' * 1_000_000,
    "a number.yaml": f"- {{prompt: x, id: 0x{'f' * 1_000_000}}}\n",
    "a number.json": f'[{{"prompt": "x", "timeout": {"9" * 1_000_000}}}]',
    "no number.json": '[{"prompt": "x", "timeout": NaN}]',
    "a key twice.jsonl": '{"prompt": "x", "prompt": "touch canary"}\n',
    "a byte order mark.jsonl": '\ufeff{"prompt": "x"}\n',
    "no text.yaml": "- prompt: \0\n",
    "no text.json": '[{"prompt": "\0"}]',
    "nothing.yaml": "",
}


@pytest.mark.parametrize("name", ABSURD_BATCHES)
def test_i2_an_absurd_batch_is_refused_within_a_moment_and_nothing_of_it_is_begun(
    site: Site, name: str
) -> None:
    file = site.work / name
    file.write_text(ABSURD_BATCHES[name])
    ran = site.run("workers", "batch", str(file), "-t", "shell")
    assert (ran.status, ran.out) == (2, ""), ran.err[:1000]
    lines = said(ran)
    assert [line for line in lines if not line.startswith(str(file))] == []
    assert len(lines) == 1 or "aliases" in name, "each alias has a line of its own"
    assert len(lines[0]) < 300
    assert ran.seconds < 5
    assert list(site.root.rglob("canary")) == []
    assert not (site.state / "workers").exists()


THEIRS = """\
workers:
  - name: shell
    command_template: "/bin/sh -c 'touch canary; echo theirs' sh"
"""


def test_i3_a_project_runs_no_command_until_it_is_trusted_by_its_content(site: Site) -> None:
    project = site.work / ".mahavishnu"
    project.mkdir()
    (project / "ecosystem.yaml").write_text(THEIRS)
    (project / "mahavishnu.yaml").write_text("pass_env: ['MY_*']\nworker_timeout_seconds: 60\n")
    untrusted = site.execute("shell", prompt="echo ours")
    assert (untrusted.result.output, warnings(untrusted)) == ("ours", 2)
    assert site.task(untrusted.result).timeout_seconds == 60, "what does no harm is obeyed"
    assert not (site.work / "canary").exists()
    assert site.run("config", "trust").status == 0
    trusted = site.execute("shell", prompt="echo ours")
    assert (trusted.result.output, warnings(trusted)) == ("theirs", 0)
    (project / "ecosystem.yaml").write_text(THEIRS + "# changed\n")
    changed = site.execute("shell", prompt="echo ours")
    assert (changed.result.output, warnings(changed)) == ("ours", 1)


def warnings(ran: Ran) -> int:
    """How many files it was said of that they are not trusted."""
    return sum("not trusted yet" in line for line in ran.err.splitlines())


@pytest.mark.parametrize("whose", ["user's", "project's"])
def test_i3_a_file_that_anybody_may_write_is_refused(site: Site, user: Path, whose: str) -> None:
    directory = user if whose == "user's" else site.work / ".mahavishnu"
    directory.mkdir(exist_ok=True)
    file = directory / "mahavishnu.yaml"
    file.write_text("worker_timeout_seconds: 60\n")
    file.chmod(0o666)
    for command in ("config check", "workers execute -t shell -p x"):
        (line,) = refused(site, *command.split())
        assert line.startswith(f"{file}: anybody on this machine may change it")
