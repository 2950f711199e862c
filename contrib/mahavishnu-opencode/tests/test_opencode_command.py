"""The command of a task for opencode, whatever the template, the prompt and the conversation."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import attrs
import pytest
from mahavishnu_opencode import hooks
from mahavishnu_opencode.command import command_for

from mahavishnu_core import Command, Task, Worker
from mahavishnu_core.errors import UsageError

SESSION = "ses_ddcd3d334ffe8qQ2C47OFtoWeS"
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
    assert argv() == "opencode run --format json --auto --thinking"


def test_a_conversation_that_exists_is_resumed():
    assert argv(resume=True) == f"opencode run --format json --auto --thinking --session {SESSION}"


def test_an_id_that_opencode_has_not_named_is_not_used():
    assert SESSION not in argv()


def test_a_bare_program_name_is_enough():
    assert argv("opencode") == "opencode run --format json --thinking"


@pytest.mark.parametrize("spelling", ["--format json", "--format=json"])
@pytest.mark.parametrize("thinking", ["--thinking", "--thinking=false"])
def test_what_the_template_has_is_not_said_twice(spelling, thinking):
    assert argv(f"opencode run {spelling} {thinking}") == f"opencode run {spelling} {thinking}"


@pytest.mark.parametrize("choice", ["-s ses_1", "--session=ses_1", "-c", "--continue"])
def test_a_conversation_that_the_template_chose_stands(choice):
    found = argv(f"opencode run {choice}", resume=True)

    assert SESSION not in found
    assert choice in found


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("opencode 'unclosed", "cannot be split into words"),
        ("  ", "is empty: name the program to run"),
        ("opencode run {prompt}", "reads its prompt from standard input"),
        ("opencode run -- x", "reads its prompt from standard input"),
        ("opencode run --format default", "format 'default', which has no progress"),
        ("opencode run --format", "format ''"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_a_reason(template, message):
    with pytest.raises(UsageError, match=message):
        command(template)


def test_a_type_that_tracks_lines_gets_no_stream_option():
    plain = attrs.evolve(TYPE, command_template="opencode run --auto", progress_tracking="lines")

    assert command_for(plain, task()).argv == ("opencode", "run", "--auto")


@pytest.mark.parametrize("name", ["OPENCODE_CONFIG", "OPENCODE_CONFIG_CONTENT", "OPENCODE_PERMISSION"])
def test_opencodes_own_variables_pass(name):
    assert passes(name)


@pytest.mark.parametrize("name", ["AGENT", "ANTHROPIC_API_KEY", "OPENCODE", "OPENCODE_PID", "OPENAI_API_KEY"])
def test_variables_of_others_and_marks_of_a_nested_run_do_not_pass(name):
    assert not passes(name)
