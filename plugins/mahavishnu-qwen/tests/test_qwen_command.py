from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import attrs
import pytest

from mahavishnu_core import Command, Task, Worker
from mahavishnu_core.errors import UsageError
from mahavishnu_qwen import hooks
from mahavishnu_qwen.command import command_for

SESSION = "0f5c3d9e-1b7a-4a55-8f53-3f6d1f0c9a11"
(TYPE,) = hooks.worker_types()


def task(prompt: str = "do it", session_id: str = SESSION, resume: bool = False) -> Task:
    return Task("t1", "w1", prompt, 60.0, session_id, resume, "2026-01-01T00:00:00+00:00", Path("/t"))


def command(template: str = TYPE.command_template, **task_fields) -> Command:
    return command_for(attrs.evolve(TYPE, command_template=template), task(**task_fields))


def argv(template: str = TYPE.command_template, **task_fields) -> str:
    return " ".join(command(template, **task_fields).argv)


def test_the_shipped_template_gets_what_it_lacks():
    assert command().argv == (
        *("qwen", "-o", "stream-json", "--approval-mode", "yolo"),
        *("--include-partial-messages", "--session-id", SESSION),
    )


def test_qwen_runs_as_one_process():
    assert command().env == {"QWEN_CODE_NO_RELAUNCH": "1"}


def test_a_conversation_that_exists_is_resumed():
    assert argv(resume=True).endswith(f"--include-partial-messages --resume {SESSION}")


def test_a_bare_program_name_is_enough():
    assert argv("qwen") == f"qwen -o stream-json --include-partial-messages --session-id {SESSION}"


@pytest.mark.parametrize(
    "spelling",
    [
        "-o stream-json",
        "-o=stream-json",
        "-ostream-json",
        "--output-format stream-json",
        "--output-format=stream-json",
        "--outputFormat stream-json",
        "--outputFormat=stream-json",
    ],
)
@pytest.mark.parametrize("partials", ["--include-partial-messages", "--includePartialMessages"])
def test_what_the_template_has_is_not_said_twice(spelling, partials):
    assert argv(f"qwen {spelling} {partials}") == f"qwen {spelling} {partials} --session-id {SESSION}"


@pytest.mark.parametrize("choice", ["--continue", "-c", "-r abc", "--resume=abc", "--sessionId abc"])
def test_a_conversation_that_the_template_chose_stands(choice):
    found = argv(f"qwen {choice}")

    assert SESSION not in found
    assert choice in found


@pytest.mark.parametrize("prompt", ["-what about this?", "--help", "", "🙂\nline two\x00", "x" * 1_000_000])
def test_the_prompt_goes_to_standard_input_as_it_is(prompt):
    found = command(prompt=prompt)

    assert found.stdin == prompt
    assert found.argv == command().argv


def test_a_prompt_that_the_template_places_is_not_on_standard_input_as_well():
    found = command("qwen {prompt}", prompt="a b")

    assert found.argv[:2] == ("qwen", "a b")
    assert found.stdin == ""


@pytest.mark.parametrize("template", ["qwen {prompt}", "qwen -p {prompt}", "qwen --prompt {prompt}"])
def test_a_placed_prompt_is_no_option(template):
    with pytest.raises(UsageError, match="the prompt begins with '-'"):
        command(template, prompt="-what about this?")


def test_a_prompt_that_begins_with_a_dash_can_be_the_value_of_an_option():
    assert "--prompt=-x" in command("qwen --prompt={prompt}", prompt="-x").argv


def test_a_template_that_loses_the_prompt_is_refused():
    with pytest.raises(UsageError, match="qwen loses a prompt that follows --"):
        command("qwen -- {prompt}")


@pytest.mark.parametrize(
    "session_id", ["", "--help", "abc", SESSION + "x", "{" + SESSION + "}", "../" + SESSION]
)
def test_only_a_uuid_becomes_a_session_word(session_id):
    with pytest.raises(UsageError, match="is no UUID"):
        command(session_id=session_id)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("qwen 'unclosed", "cannot be split into words"),
        ("  ", "is empty: name the program to run"),
        ("qwen -o json", "output format 'json', which has no progress"),
        ("qwen -otext", "output format 'text', which has no progress"),
        ("qwen --output-format=text", "output format 'text', which has no progress"),
        ("qwen -o", "output format ''"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_a_reason(template, message):
    with pytest.raises(UsageError, match=message) as caught:
        command(template)
    assert "\n" not in str(caught.value)


def test_a_type_that_tracks_lines_gets_no_stream_options():
    plain = attrs.evolve(TYPE, command_template="qwen --yolo", progress_tracking="lines")

    assert command_for(plain, task()).argv == ("qwen", "--yolo", "--session-id", SESSION)


OWN = "BAILIAN_CODING_PLAN_API_KEY DASHSCOPE_API_KEY OPENAI_API_KEY OPENAI_BASE_URL OPENAI_MODEL QWEN_HOME"
NOT_OWN = """
ANTHROPIC_API_KEY CLAUDE_CODE_OAUTH_TOKEN GEMINI_API_KEY GITHUB_TOKEN OPENROUTER_API_KEY SANDBOX
QWEN_CODE QWEN_CODE_IDE_SERVER_PORT QWEN_CODE_IDE_WORKSPACE_PATH QWEN_CODE_SIMPLE
"""


def passes(name: str) -> bool:
    found = command()
    wanted = any(fnmatchcase(name, pattern) for pattern in found.pass_env)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in found.drop_env)


@pytest.mark.parametrize("name", OWN.split())
def test_qwens_own_variables_pass(name):
    assert passes(name)


@pytest.mark.parametrize("name", NOT_OWN.split())
def test_variables_of_others_and_marks_of_a_nested_run_do_not_pass(name):
    assert not passes(name)


def test_a_type_that_tracks_lines_is_read_as_lines():
    worker = Worker("w1", attrs.evolve(TYPE, progress_tracking="lines"), Path("/w"), "")

    assert type(hooks.parse_progress(worker, task())).__name__ == "LinesParser"
