"""What an agent wants run: its command, whatever the prompt and the conversation."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import partial
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.models import Command
from mahavishnu_core.testing.contract.row import Broken, DoesNotApply, Row, require
from mahavishnu_core.testing.contract.subject import SESSION, task_of, worker_of
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mahavishnu_core.models import WorkerType
    from mahavishnu_core.testing.contract.subject import Subject

PROMPTS = (
    "say hello",
    "- [ ] tick this",
    "--help",
    "-h",
    "$(touch owned) `touch owned` ; touch owned & | > owned",
    "two\nlines and a tab\t",
    "'single' \"double\" \\ back",
    "Grüße 漢字 🙂 \u202e",
    "{prompt} {{prompt}} %s $PROMPT",
    "@file and /command",
    "a" * 100_000,
)
BAD_SESSIONS = ("--dangerously-skip-permissions", "-x", "../../etc/passwd", "a\nb", "a b; touch owned", "")
VALUE_OPTIONS = frozenset({"-c", "-e", "--eval", "--command", "-p", "--prompt", "--message"})
"""Options that take the next word for their value, whatever it begins with.

Only their names say so: from outside, an option with its value looks like a flag and a word of its own. So no
other option is believed, and the row says where one of these was.
"""
_OF_TASKS = frozenset({"prompt", "session id", "resume"})
"""Rows about what the tasks bring with them that standing workers do not take."""
_TRUSTED = "one that begins with '-' is taken for the value of {}, as it must be"
_NEUTRAL = "neutral"
"""A prompt that nothing is peculiar about: what is another for another prompt is where the prompt stands."""


def rows(subject: Subject) -> Iterator[Row]:
    looks: dict[str, tuple[str, Callable[[Subject, WorkerType], str]]] = {
        "declines": ("it answers for its own agent, and for no other", _declines_others),
        "command": ("the same task gives the same command", _answers_the_same_twice),
        "prompt": ("a prompt arrives as it is, and is never an option", _hands_on_prompts),
        "session id": (
            "a session id that an agent made up is never an option or a path",
            _is_wary_of_session_ids,
        ),
        "resume": ("a later task goes on with the conversation that the earlier one named", _resumes),
    }
    for kind in subject.agent_types:
        for name, (promise, look) in looks.items():
            if kind in subject.task_types or name not in _OF_TASKS:
                yield Row(f"{kind.name}: {name}", promise, partial(look, subject, kind))


def _declines_others(subject: Subject, kind: WorkerType) -> str:
    other = attrs.evolve(kind, name="someone-elses", agent="someone-elses")
    worker = worker_of(other)
    for hook in ("execute", "parse_progress"):
        answer = subject.host.ask(hook, worker=worker, task=task_of(worker))
        require(
            answer is None, f"its {hook} answers for the agent 'someone-elses' too: return None for others"
        )
    return f"agent {kind.agent!r}"


def _answers_the_same_twice(subject: Subject, kind: WorkerType) -> str:
    first, second = _command(subject, kind, "say hello"), _command(subject, kind, "say hello")
    require(first == second, "asked twice, it gives two different commands")
    return " ".join(one_line(word, 40) for word in first.argv)


def _hands_on_prompts(subject: Subject, kind: WorkerType) -> str:
    neutral = _command(subject, kind, _NEUTRAL)
    refused, options = 0, set()
    for prompt in PROMPTS:
        try:
            command = _command(subject, kind, prompt)
        except MahavishnuError:  # said in one line, before anything was started
            refused += 1
            continue
        options |= _require_arrives(command, neutral, prompt)
    require(refused < len(PROMPTS), "every prompt is refused")
    return (
        f"{len(PROMPTS)} prompts"
        + (f", {refused} of them refused" if refused else "")
        + (f"; {_TRUSTED.format(', '.join(sorted(options)))}" if options else "")
    )


def _require_arrives(command: Command, neutral: Command, prompt: str) -> set[str]:
    """The options whose value a prompt must be, since it would be an option if it were not."""
    shown = one_line(prompt, 40)
    words = [place for place in _others(command, neutral) if prompt in command.argv[place]]
    in_stdin = command.stdin != neutral.stdin and prompt in command.stdin
    require(
        words or in_stdin, f"the prompt {shown!r} is neither in stdin nor in a word of the command as it is"
    )
    require(
        not any(prompt in value for value in _other_values(command, neutral)),
        f"the prompt {shown!r} is in the environment",
    )
    options = set()
    for place in words:
        before = command.argv[:place]
        if not prompt.startswith("-") or not command.argv[place].startswith(prompt) or "--" in before:
            continue
        require(
            before and before[-1] in VALUE_OPTIONS,
            f"the prompt {shown!r} stands where the program reads options: use stdin, "
            "a word '--' before it, or one word --option=PROMPT",
        )
        options.add(before[-1])
    return options


def _is_wary_of_session_ids(subject: Subject, kind: WorkerType) -> str:
    try:
        neutral = _command(subject, kind, _NEUTRAL, resume=True)
    except MahavishnuError:  # it takes none at all, or not this one: nothing is known to be harmless
        neutral = Command(())
    refused = 0
    for session in BAD_SESSIONS:
        try:
            command = _command(subject, kind, _NEUTRAL, resume=True, session_id=session)
        except MahavishnuError:
            refused += 1
            continue
        if session:
            _require_harmless(command, neutral, session)
    return f"{refused} of {len(BAD_SESSIONS)} refused, the others do no harm"


def _require_harmless(command: Command, neutral: Command, session: str) -> None:
    for word in (command.argv[place] for place in _others(command, neutral)):
        require(session != word, f"the session id {session!r} becomes a word of the command")
        is_value = word.startswith("--") and word.partition("=")[2] == session and "/" not in session
        require(session not in word or is_value, f"the session id {session!r} is a part of the word {word!r}")
    known = {*neutral.env, *neutral.pass_env, *neutral.drop_env}
    names = {*command.env, *command.pass_env, *command.drop_env} - known
    require(
        not any(session in each for each in names | _other_values(command, neutral)),
        f"the session id {session!r} is in the environment of the command",
    )


def _others(command: Command, neutral: Command) -> list[int]:
    """The places of the words that a command has and a neutral one has not."""
    matcher = SequenceMatcher(None, neutral.argv, command.argv, autojunk=False)
    return [
        place
        for change, _, _, begin, end in matcher.get_opcodes()
        if change != "equal"
        for place in range(begin, end)
    ]


def _other_values(command: Command, neutral: Command) -> set[str]:
    return {value for name, value in command.env.items() if neutral.env.get(name) != value}


def _resumes(subject: Subject, kind: WorkerType) -> str:
    if "session" not in kind.tells:
        raise DoesNotApply("it declares no session")
    fresh, later = _command(subject, kind, "Go"), _command(subject, kind, "Go", resume=True)
    require(fresh != later, "the command that resumes is the one that begins")
    where = [*later.argv, later.stdin, *later.env.values()]
    require(any(SESSION in place for place in where), "the command that resumes does not name the session")
    return " ".join(one_line(word, 40) for word in later.argv if word not in fresh.argv) or "by stdin"


def _command(
    subject: Subject, kind: WorkerType, prompt: str, *, resume: bool = False, session_id: str = SESSION
) -> Command:
    worker = worker_of(kind)
    task = task_of(worker, prompt, resume=resume, session_id=session_id)
    command = subject.command(worker, task)
    if not isinstance(command, Command):
        raise Broken(f"execute answers {type(command).__name__} where a Command is due")
    require(command.argv and all(isinstance(word, str) for word in command.argv), "argv is not words")
    return command
