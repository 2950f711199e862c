"""What a debug monitor has shown, in the real Session-Buddy: each line once, with its number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .real_server import UNCLOSED
from .real_site import Site, open_site

pytestmark = [pytest.mark.session_buddy, pytest.mark.whole, pytest.mark.filterwarnings(UNCLOSED)]
WITHOUT_WINDOW = {
    "workers": [{"name": "debug-monitor", "agent": "debug-monitor", "options": {"window": "none"}}]
}


@pytest.fixture
def site(tmp_path: Path, nothing_left: None) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        settings = site.root / "home/.config/mahavishnu/ecosystem.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(WITHOUT_WINDOW))
        yield site


def monitor_of(site: Site) -> str:
    workers = json.loads(site.run("workers", "list", "--all", "--json"))
    (monitor,) = [worker["worker_id"] for worker in workers if worker["worker_type"] == "debug-monitor"]
    return monitor


def test_all_that_it_has_shown_arrives_once_and_is_found(site: Site) -> None:
    site.buddy.start()
    site.run("--debug", "workers", "execute", "-t", "shell", "-n", "3", "-p", "echo the needle in it")
    monitor = monitor_of(site)
    site.run("workers", "close", monitor)
    site.wait_until_sent()
    result = json.loads((site.state / f"workers/{monitor}/tasks/{monitor}.1/result.json").read_text())
    assert result["metadata"]["warnings"] == [], "what sends them is none of the monitor's family"

    recorded = site.state / f"workers/{monitor}/tasks/{monitor}.1/stdout.jsonl"
    records = map(json.loads, recorded.read_text().splitlines())
    shown = {record["number"]: record["text"] for record in records if record["type"] == "line"}
    letters = [
        letter
        for letter in site.buddy.over_http.held()
        if f"worker:{monitor}" in letter.tags and not any(tag.startswith("task:") for tag in letter.tags)
    ]
    assert {letter.fact("type") for letter in letters} == {"debug-monitor"}
    held = [line for letter in letters for line in letter.content.splitlines()[1:]]
    numbers = sorted(int(line.partition(": ")[0]) for line in held)
    assert numbers == sorted(shown)
    assert sum("the needle in it" in line and '"task_ended"' not in line for line in held) >= 3
    assert site.buddy.over_http.shows(f"ml1_{monitor}")
