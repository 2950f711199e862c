from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import attrs
import pytest

from mahavishnu_claude import hooks
from mahavishnu_claude.command import command_for
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


def test_the_shipped_template_gets_what_print_mode_needs():
    assert command().argv == (
        *("claude", "--output-format", "stream-json", "--permission-mode", "acceptEdits"),
        *("-p", "--verbose", "--include-partial-messages", "--session-id", SESSION),
    )


def test_a_conversation_that_exists_is_resumed():
    assert argv(resume=True).endswith(f"--include-partial-messages --resume {SESSION}")


def test_a_bare_program_name_is_enough():
    assert argv("claude") == (
        f"claude -p --output-format stream-json --verbose --include-partial-messages --session-id {SESSION}"
    )


@pytest.mark.parametrize("output_format", ["--output-format stream-json", "--output-format=stream-json"])
@pytest.mark.parametrize("print_mode", ["-p", "--print"])
def test_what_the_template_has_is_not_said_twice(output_format, print_mode):
    template = f"claude {print_mode} {output_format} --verbose --include-partial-messages"

    assert argv(template) == f"{template} --session-id {SESSION}"


@pytest.mark.parametrize(
    "choice",
    ["--continue", "-c", "-r abc", "--resume=abc", "--session-id 9d2f8a64-1111-4222-8333-444455556666"],
)
def test_a_conversation_that_the_template_chose_stands(choice):
    found = argv(f"claude {choice}")

    assert SESSION not in found
    assert choice in found


def test_options_go_before_the_words_after_a_double_dash():
    assert argv("claude -p --verbose -- {prompt}") == (
        "claude -p --verbose --output-format stream-json --include-partial-messages "
        f"--session-id {SESSION} -- do it"
    )


def test_quotes_in_a_template_keep_a_word_together():
    assert "Bash(git log *)" in command("claude --allowedTools 'Bash(git log *)'").argv


@pytest.mark.parametrize("prompt", ["-what about this?", "--help", "", "🙂\nline two\x00", "x" * 1_000_000])
def test_the_prompt_goes_to_standard_input_as_it_is(prompt):
    found = command(prompt=prompt)

    assert found.stdin == prompt
    assert found.argv == command().argv


def test_a_prompt_that_the_template_places_is_not_on_standard_input_as_well():
    found = command("claude -p {prompt}", prompt="a b")

    assert found.argv[:3] == ("claude", "-p", "a b")
    assert found.stdin == ""


def test_a_placed_prompt_is_no_option():
    with pytest.raises(UsageError, match="the prompt begins with '-'"):
        command("claude -p {prompt}", prompt="-what about this?")


@pytest.mark.parametrize(
    ("template", "word"), [("claude -p -- {prompt}", "-x"), ("claude -p 'Please: {prompt}'", "Please: -x")]
)
def test_a_prompt_that_begins_with_a_dash_can_be_placed_where_no_option_is(template, word):
    assert word in command(template, prompt="-x").argv


def test_a_prompt_is_never_read_as_a_template():
    assert "{prompt} and {prompt}" in command("claude -p {prompt}", prompt="{prompt} and {prompt}").argv


@pytest.mark.parametrize(
    "session_id", ["", "--help", "abc", SESSION + "x", "{" + SESSION + "}", "../" + SESSION]
)
def test_only_a_uuid_becomes_a_session_word(session_id):
    with pytest.raises(UsageError, match="is no UUID"):
        command(session_id=session_id)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("claude 'unclosed", "cannot be split into words"),
        ("  ", "is empty: name the program to run"),
        ("claude --output-format json", "output format 'json', which has no progress"),
        ("claude --output-format=text", "output format 'text', which has no progress"),
        ("claude --output-format", "output format ''"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_a_reason(template, message):
    with pytest.raises(UsageError, match=message) as caught:
        command(template)
    assert "\n" not in str(caught.value)


def test_a_type_that_tracks_lines_gets_no_stream_options():
    plain = attrs.evolve(TYPE, command_template="claude --output-format text", progress_tracking="lines")

    assert command_for(plain, task()).argv == (
        *("claude", "--output-format", "text", "-p", "--session-id", SESSION),
    )


def passes(name: str) -> bool:
    found = command()
    wanted = any(fnmatchcase(name, pattern) for pattern in found.pass_env)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in found.drop_env)


OWN = """
ANTHROPIC_API_KEY ANTHROPIC_BASE_URL API_TIMEOUT_MS CLAUDE_CODE_MAX_RETRIES CLAUDE_CODE_OAUTH_TOKEN
CLAUDE_CODE_USE_BEDROCK CLAUDE_CONFIG_DIR DISABLE_PROMPT_CACHING DISABLE_TELEMETRY
ENABLE_PROMPT_CACHING_1H IS_SANDBOX
"""
NOT_OWN = """
AWS_SECRET_ACCESS_KEY DISABLE_MY_OWN GITHUB_TOKEN OPENAI_API_KEY QWEN_HOME
AI_AGENT CLAUDECODE CLAUDE_CODE_CHILD_SESSION CLAUDE_CODE_ENTRYPOINT CLAUDE_CODE_EXECPATH
CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR CLAUDE_CODE_SESSION_ID CLAUDE_CODE_SSE_PORT CLAUDE_EFFORT TRACEPARENT
"""


@pytest.mark.parametrize("name", OWN.split())
def test_claudes_own_variables_pass(name):
    assert passes(name)


@pytest.mark.parametrize("name", NOT_OWN.split())
def test_variables_of_others_and_marks_of_a_nested_run_do_not_pass(name):
    assert not passes(name)


def test_a_type_that_tracks_lines_is_read_as_lines():
    worker = Worker("w1", attrs.evolve(TYPE, progress_tracking="lines"), Path("/w"), "")

    assert type(hooks.parse_progress(worker, task())).__name__ == "LinesParser"
