"""The command of a task for gemini, whatever the template, the prompt and the conversation."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import attrs
import pytest
from mahavishnu_gemini import hooks
from mahavishnu_gemini.command import command_for

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
    assert argv() == f"gemini -o stream-json --approval-mode yolo --skip-trust --session-id {SESSION}"


def test_gemini_runs_as_one_process():
    assert command().env == {"GEMINI_CLI_NO_RELAUNCH": "true"}


def test_a_conversation_that_exists_is_resumed():
    assert argv(resume=True).endswith(f"--skip-trust --resume {SESSION}")


def test_a_bare_program_name_is_enough():
    assert argv("gemini") == f"gemini -o stream-json --session-id {SESSION}"


@pytest.mark.parametrize(
    "spelling",
    [
        "-o stream-json",
        "-o=stream-json",
        "-ostream-json",
        "--output-format stream-json",
        "--output-format=stream-json",
        "--outputFormat stream-json",
    ],
)
def test_what_the_template_has_is_not_said_twice(spelling):
    assert argv(f"gemini {spelling}") == f"gemini {spelling} --session-id {SESSION}"


@pytest.mark.parametrize("choice", ["-r latest", "--resume=latest", "--sessionId abc", "--session-file x"])
def test_a_conversation_that_the_template_chose_stands(choice):
    found = argv(f"gemini {choice}")

    assert SESSION not in found
    assert choice in found


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("gemini 'unclosed", "cannot be split into words"),
        ("  ", "is empty: name the program to run"),
        ("gemini {prompt}", "reads its prompt from standard input"),
        ("gemini -p {prompt}", "reads its prompt from standard input"),
        ("gemini --prompt=x", "reads its prompt from standard input"),
        ("gemini -i x", "reads its prompt from standard input"),
        ("gemini -- x", "reads its prompt from standard input"),
        ("gemini -o json", "output format 'json', which has no progress"),
        ("gemini -otext", "output format 'text', which has no progress"),
        ("gemini -o", "output format ''"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_a_reason(template, message):
    with pytest.raises(UsageError, match=message):
        command(template)


def test_a_prompt_that_gemini_would_cut_is_refused():
    assert command(prompt="x" * 8 * 1024 * 1024).stdin
    with pytest.raises(UsageError, match="gemini reads no more than 8388608 bytes of a prompt"):
        command(prompt="é" * (4 * 1024 * 1024 + 1))


def test_a_type_that_tracks_lines_gets_no_stream_option():
    plain = attrs.evolve(TYPE, command_template="gemini --yolo", progress_tracking="lines")

    assert command_for(plain, task()).argv == ("gemini", "--yolo", "--session-id", SESSION)


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GEMINI_MODEL", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"])
def test_geminis_own_variables_pass(name):
    assert passes(name)


@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "GEMINI_CLI", "GEMINI_CLI_IDE_SERVER_PORT", "OPENAI_API_KEY"]
)
def test_variables_of_others_and_marks_of_a_nested_run_do_not_pass(name):
    assert not passes(name)
