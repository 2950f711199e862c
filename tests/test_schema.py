"""The published schema of ``--jsonl``: it is that of the types, and what is printed keeps to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import pytest
from jsonschema import Draft202012Validator

from mahavishnu_core import Parser, Task, Worker, WorkerType
from mahavishnu_core.app import load_app
from mahavishnu_core.events import (
    EVENTS_VERSION,
    Event,
    TaskEvent,
    Text,
    Tokens,
    event_name,
    to_dict,
)
from mahavishnu_core.models import JSON, WorkerResult, WorkerStatus
from mahavishnu_core.schema import events_schema
from mahavishnu_core.stream import StreamReader
from mahavishnu_core.testing import Sample, samples_in
from mahavishnu_core.testing.contract.observers import EVENTS
from tests.documents import ROOT, document

PUBLISHED = ROOT / "docs/events.schema.json"
SCHEMA = events_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
PROGRAM = Path(sys.executable).with_name("mahavishnu")
APP = load_app(environ={"HOME": os.devnull})
SAMPLES = sorted(ROOT.glob("plugins/*/mahavishnu_*/samples"))


def line_of(event: Event) -> dict[str, JSON]:
    return to_dict(TaskEvent("k3f9a2b1", "k3f9a2b1.1", 1, event))


def faults(line: JSON) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(line)]


def test_the_published_schema_is_that_of_the_types() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "mahavishnu_core.schema"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert PUBLISHED.read_text() == printed, (
        "renew it: python -m mahavishnu_core.schema > docs/events.schema.json; "
        "raise EVENTS_VERSION where a field was removed or changed"
    )


def test_the_schema_is_one_and_names_its_version() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == f"urn:mahavishnu:events:{EVENTS_VERSION}"
    assert str(EVENTS_VERSION) in str(SCHEMA["title"])
    assert PUBLISHED.name in document("docs/guide.md").links()


def test_every_kind_of_event_is_described_in_the_words_of_its_class() -> None:
    definitions = cast("dict[str, dict[str, str]]", SCHEMA["$defs"])
    kinds = [*get_args(Event), Tokens, WorkerResult]
    assert [kind for kind in kinds if kind.__name__ not in definitions] == []
    assert [kind for kind in kinds if not definitions[kind.__name__]["description"]] == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event_name(type(event)))
def test_an_event_is_valid_and_all_its_fields_are_required(event: Event) -> None:
    line = line_of(event)
    assert faults(line) == []
    assert [name for name in line if not faults({key: line[key] for key in line if key != name})] == []


def test_there_is_one_of_each() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_a_result_is_valid_and_all_its_fields_are_required() -> None:
    line: dict[str, JSON] = {"type": "result", **WorkerResult("k3f9a2b1", WorkerStatus.FAILED).to_dict()}
    assert faults(line) == []
    assert [name for name in line if not faults({key: line[key] for key in line if key != name})] == []


@pytest.mark.parametrize(
    "change",
    [
        {"type": "gossip"},
        {"type": None},
        {"text": 5},
        {"partial": "yes"},
        {"parent": ["call"]},
        {"seq": 0},
        {"seq": "1"},
        {"worker_id": None},
    ],
    ids=str,
)
def test_a_line_with_a_wrong_value_is_invalid(change: dict[str, JSON]) -> None:
    assert faults(line_of(Text("words")) | change)


@pytest.mark.parametrize("line", [None, [], "text", {}, {"type": "text"}], ids=str)
def test_what_is_no_line_is_invalid(line: JSON) -> None:
    assert faults(line)


def test_a_field_that_a_later_version_adds_is_valid() -> None:
    assert faults(line_of(Text("words")) | {"mood": "good"}) == []


def test_every_plugin_with_a_program_of_its_own_has_samples() -> None:
    assert {path.parent.name for path in SAMPLES} >= {"mahavishnu_claude", "mahavishnu_qwen"}


@pytest.mark.whole
@pytest.mark.parametrize("directory", SAMPLES, ids=lambda path: path.parent.name)
def test_every_event_that_a_parser_makes_of_a_sample_is_valid(directory: Path) -> None:
    agent = directory.parent.name.removeprefix("mahavishnu_").replace("_", "-")
    kinds = {entry.type.agent: entry.type for entry in APP.catalog.entries}
    samples = list(samples_in(directory, kinds[agent].name))
    assert samples
    assert [
        (sample.name, found)
        for sample in samples
        for event in _events(kinds[agent], sample)
        if (found := faults(line_of(event)))
    ] == []


def _events(kind: WorkerType, sample: Sample) -> Iterator[Event]:
    worker = Worker("k3f9a2b1", kind, Path(), "")
    task = Task("k3f9a2b1.1", "k3f9a2b1", "", 60.0, "", sample.resume, "", Path())
    parser = cast("Parser", APP.host.ask("parse_progress", worker=worker, task=task))
    reader = StreamReader(parser, kind.progress_tracking)
    yield from reader.feed(sample.stdout)
    yield from reader.end(sample.exit, sample.stderr)


@pytest.mark.whole
def test_what_the_command_line_prints_is_valid(tmp_path: Path, nothing_left: None) -> None:
    environ = {**os.environ, "MAHAVISHNU_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    command = [PROGRAM, "workers", "execute", "-t", "shell", "-n", "2", "--jsonl", "-p", "echo one; exit 3"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["type"] for line in lines} == {"text", "finished", "result"}
    assert [(line, found) for line in lines if (found := faults(line))] == []
