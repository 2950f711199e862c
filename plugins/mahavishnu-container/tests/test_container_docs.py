"""The examples of the document about containers are as the code wants them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import attrs
import pytest
import trio
import yaml

from mahavishnu_container.options import ContainerOptions
from mahavishnu_core.app import load_app
from mahavishnu_core.events import Progress
from mahavishnu_core.stream.reports import read_report
from tests.documents import document

PAGE = document("docs/containers.md")


def entries() -> Iterator[dict[str, object]]:
    """The worker types of the document's YAML; a block of options alone is one of a type."""
    for block in PAGE.blocks("yaml"):
        told = yaml.safe_load(block)
        told = (
            told.get("workers", [{"name": "container-executor", **told}]) if isinstance(told, dict) else told
        )
        yield from told


@pytest.mark.parametrize("entry", list(entries()), ids=lambda entry: str(entry["options"]))
def test_each_worker_type_of_the_document_is_one(app, tmp_path, entry):
    agentless = {**entry, "agent": "shell"}  # claude's plugin need not be here
    (tmp_path / "ecosystem.yaml").write_text(yaml.safe_dump({"workers": [agentless]}))
    catalog = load_app(config_dir=tmp_path).catalog
    assert catalog.problems == ()
    kind = catalog.get(entry["name"])
    assert kind.place == "container"
    assert kind.options == entry["options"]
    assert kind.env == entry.get("env", {})


def test_the_options_and_their_defaults_are_those_of_the_code():
    rows = dict(
        line.split("|")[1:3]
        for line in PAGE.text.partition("## Options")[2].partition("### ")[0].splitlines()
        if line.startswith("| `")
    )
    said = {name.strip(" `"): default.strip(" `") for name, default in rows.items()}
    known = {field.name: field.default for field in attrs.fields(ContainerOptions)}
    assert list(said) == list(known)
    words = {None: {"you", "no limit"}, (): {"none"}, False: {"false"}}
    assert [
        name for name, default in known.items() if said[name] not in words.get(default, {str(default)})
    ] == []


def test_the_report_of_the_document_is_read_as_one():
    (block,) = PAGE.blocks("json")
    assert read_report(b'{"at": 7, "report": %s}' % block.strip().encode()) == (
        7,
        Progress("3 of 12 files", 0.25),
    )


async def test_the_program_of_the_document_reports(tmp_path, monkeypatch):
    (program,) = PAGE.blocks("python")
    monkeypatch.setenv("MAHAVISHNU_PROGRESS", str(tmp_path / "progress.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "progress.sock"))
        listener.listen()
        await trio.run_process([sys.executable, "-c", program])
        caller, _ = listener.accept()
        with caller, caller.makefile("rb") as lines:
            (line,) = lines
    assert read_report(b'{"at": 0, "report": %s}' % line.strip()) == (0, Progress("half way", 0.5))
