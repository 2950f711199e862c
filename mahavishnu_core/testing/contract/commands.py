"""What an agent wants run: its command, whatever the prompt and the conversation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.models import Command
from mahavishnu_core.testing.contract.row import Broken, DoesNotApply, Row, require
from mahavishnu_core.testing.contract.subject import SESSION, task_of, worker_of
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def rows(subject: Subject) -> Iterator[Row]:
    for kind in subject.types:
        yield Row(
            f"{kind.name}: declines",
            "it answers for its own agent, and for no other",
            partial(_declines_others, subject, kind),
        )
        yield Row(
            f"{kind.name}: command",
            "the same task gives the same command",
            partial(_answers_the_same_twice, subject, kind),
        )
        yield Row(
            f"{kind.name}: prompt",
            "a prompt arrives as it is, and is never an option",
            partial(_hands_on_prompts, subject, kind),
        )
        yield Row(
            f"{kind.name}: session id",
            "a session id that an agent made up is never an option or a path",
            partial(_is_wary_of_session_ids, subject, kind),
        )
        yield Row(
            f"{kind.name}: resume",
            "a later task goes on with the conversation that the earlier one named",
            partial(_resumes, subject, kind),
        )


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
    refused = 0
    for prompt in PROMPTS:
        try:
            command = _command(subject, kind, prompt)
        except MahavishnuError:  # said in one line, before anything was started
            refused += 1
            continue
        shown = one_line(prompt, 40)
        if prompt not in command.stdin:
            _require_in_words(command, prompt, shown)
        require(
            not any(prompt in value for value in command.env.values()),
            f"the prompt {shown!r} is in the environment",
        )
    require(refused < len(PROMPTS), "every prompt is refused")
    return f"{len(PROMPTS)} prompts" + (f", {refused} of them refused" if refused else "")


def _require_in_words(command: Command, prompt: str, shown: str) -> None:
    places = [number for number, word in enumerate(command.argv) if prompt in word]
    require(places, f"the prompt {shown!r} is neither in stdin nor in a word of the command as it is")
    for place in places:
        word, before = command.argv[place], command.argv[:place]
        is_value = before and before[-1].startswith("-")  # of the option before it
        require(
            not word.startswith("-") or is_value or "--" in before or not prompt.startswith("-"),
            f"the prompt {shown!r} stands where the program reads options",
        )


def _is_wary_of_session_ids(subject: Subject, kind: WorkerType) -> str:
    worker = worker_of(kind)
    refused = 0
    for session in BAD_SESSIONS:
        task = task_of(worker, resume=True, session_id=session)
        try:
            command = subject.command(worker, task)
        except MahavishnuError:
            refused += 1
            continue
        words = command.argv if command else ()
        require(
            not session or session not in words, f"the session id {session!r} becomes a word of the command"
        )
    return f"{refused} of {len(BAD_SESSIONS)} refused, the others not used"


def _resumes(subject: Subject, kind: WorkerType) -> str:
    if "session" not in kind.tells:
        raise DoesNotApply("it declares no session")
    fresh, later = _command(subject, kind, "Go"), _command(subject, kind, "Go", resume=True)
    require(fresh != later, "the command that resumes is the one that begins")
    where = [*later.argv, later.stdin, *later.env.values()]
    require(any(SESSION in place for place in where), "the command that resumes does not name the session")
    return " ".join(one_line(word, 40) for word in later.argv if word not in fresh.argv) or "by stdin"


def _command(subject: Subject, kind: WorkerType, prompt: str, *, resume: bool = False) -> Command:
    worker = worker_of(kind)
    command = subject.command(worker, task_of(worker, prompt, resume=resume))
    if not isinstance(command, Command):
        raise Broken(f"execute answers {type(command).__name__} where a Command is due")
    require(command.argv and all(isinstance(word, str) for word in command.argv), "argv is not words")
    return command
