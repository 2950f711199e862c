"""The command of a task for codex, whatever the template, the prompt and the conversation."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import attrs
import pytest
from mahavishnu_codex import hooks
from mahavishnu_codex.command import command_for

from mahavishnu_core import Command, Task, Worker
from mahavishnu_core.errors import UsageError

SESSION = "0f5c3d9e-1b7a-4a55-8f53-3f6d1f0c9a11"
(TYPE,) = hooks.worker_types()


def task(prompt: str = "do it", session_id: str = SESSION, resume: bool = False) -> Task:
    return Task("t1", "w1", prompt, 60.0, session_id, resume, "2026-01-01T00:00:00+00:00", Path("/t"))


def command(template: str = TYPE.command_template, **task_fields) -> Command:
    return command_for(attrs.evolve(TYPE, command_template=template), task(**task_fields))


def argv(template: str = TYPE.command_template, **task_fields) -> str:
    return " ".join(command(template, **task_fields).argv)


def passes(name: str) -> bool:
    found = command()
    wanted = any(fnmatchcase(name, pattern) for pattern in found.pass_env)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in found.drop_env)


@pytest.mark.parametrize("prompt", ["-what about this?", "--help", "", "🙂\nline two\x00", "x" * 1_000_000])
def test_the_prompt_goes_to_standard_input_as_it_is(prompt):
    found = command(prompt=prompt)

    assert found.stdin == prompt
    assert found.argv == command().argv


@pytest.mark.parametrize("session_id", ["", "--help", "-x", SESSION + ";", "../" + SESSION, "a b"])
def test_only_a_harmless_id_becomes_a_session_word(session_id):
    with pytest.raises(UsageError, match="session id of task 't1'"):
        command(session_id=session_id, resume=True)


def test_a_type_that_tracks_lines_is_read_as_lines():
    worker = Worker("w1", attrs.evolve(TYPE, progress_tracking="lines"), Path("/w"), "")

    assert type(hooks.parse_progress(worker, task())).__name__ == "LinesParser"


def test_the_shipped_template_gets_what_it_lacks():
    assert argv() == "codex exec --json --skip-git-repo-check --sandbox workspace-write -"


def test_a_conversation_that_exists_is_resumed_behind_the_options():
    assert argv(resume=True) == (
        f"codex exec --json --skip-git-repo-check --sandbox workspace-write resume {SESSION} -"
    )


def test_an_id_that_codex_has_not_named_is_not_used():
    assert SESSION not in argv()


def test_a_bare_program_name_is_enough():
    assert argv("codex") == "codex exec --json -"
    assert argv("codex -c model=x") == "codex -c model=x exec --json -"
    assert argv("codex e --json") == "codex e --json -"


def test_a_conversation_that_the_template_chose_stands():
    assert argv("codex exec --json resume --last", resume=True) == "codex exec --json resume --last -"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("codex 'unclosed", "cannot be split into words"),
        ("  ", "is empty: name the program to run"),
        ("codex exec {prompt}", "reads its prompt from standard input"),
        ("codex exec --json -", "leave '-' and '--' out of it"),
        ("codex exec -- x", "leave '-' and '--' out of it"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_a_reason(template, message):
    with pytest.raises(UsageError, match=message):
        command(template)


def test_a_prompt_that_codex_would_refuse_is_refused():
    assert command(prompt="é" * 1024 * 1024).stdin
    with pytest.raises(UsageError, match="codex takes no more than 1048576 characters of a prompt"):
        command(prompt="x" * (1024 * 1024 + 1))


def test_a_type_that_tracks_lines_gets_no_stream_option():
    plain = attrs.evolve(TYPE, command_template="codex exec", progress_tracking="lines")

    assert command_for(plain, task()).argv == ("codex", "exec", "-")


@pytest.mark.parametrize("name", ["CODEX_API_KEY", "CODEX_HOME", "OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_codexs_own_variables_pass(name):
    assert passes(name)


@pytest.mark.parametrize(
    "name",
    ["ANTHROPIC_API_KEY", "CODEX_CI", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID", "GITHUB_TOKEN"],
)
def test_variables_of_others_and_marks_of_a_nested_run_do_not_pass(name):
    assert not passes(name)
