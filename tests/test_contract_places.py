"""The rows of the contract for what a place says of itself, each broken by a plugin that breaks just that."""

from __future__ import annotations

import attrs
import pytest
import trio

from mahavishnu_core import WorkerType, hookimpl
from mahavishnu_core.errors import MissingError
from mahavishnu_core.health import Check
from mahavishnu_core.host import host_of
from mahavishnu_core.models import Leftover
from mahavishnu_core.testing.contract import rows_of
from mahavishnu_core.testing.contract.places import rows
from mahavishnu_core.testing.contract.subject import subject_of


@attrs.frozen
class Options:
    size: int = 1

    def faults(self):
        if self.size < 0:
            yield "size", "must not be less than 0"


@attrs.define(slots=False)
class Yard:
    """A place that keeps the contract."""

    options: object = Options
    type: WorkerType = attrs.field(factory=lambda: WorkerType("yard", "robot", "yard", description="a yard"))
    left: object = ()
    found: object = (Check("yard", "ok", "open"),)

    @hookimpl
    def worker_types(self):
        return [self.type]

    @hookimpl
    def place_options(self, place):
        return self.options if place == "yard" else None

    @hookimpl
    def sweep(self):
        return self._say(self.left)

    @hookimpl
    def diagnose(self):
        return self._say(self.found)

    async def _say(self, answer):
        await trio.lowlevel.checkpoint()
        if isinstance(answer, Exception):
            raise answer
        return answer


def outcomes(plugin):
    return {row.name: row.outcome() for row in rows(subject_of(host_of({"yard": plugin}), "yard"))}


def test_a_place_that_keeps_the_contract_passes_every_row():
    found = {name: (outcome.state, outcome.detail) for name, outcome in outcomes(Yard()).items()}
    assert found == {
        "yard: options": ("pass", "Options: all as by default"),
        "place: sweep": ("pass", "nothing"),
        "diagnose": ("pass", "yard: ok"),
    }


def typed(**options):
    return WorkerType("yard", "robot", "yard", options=options)


LEFT = Leftover("room 7", "k3f9a2b1", "its worker is closed")


@pytest.mark.parametrize(
    ("change", "row", "detail"),
    [
        ({"options": "none"}, "yard: options", "place_options answers 'none', no attrs class"),
        ({"options": int}, "yard: options", "place_options answers <class 'int'>, no attrs class"),
        (
            {"type": WorkerType("yard", "robot", "yard", options={"size": -1})},
            "yard: options",
            "size: must not",
        ),
        (
            {"type": WorkerType("yard", "robot", "yard", options={"siz": 1})},
            "yard: options",
            "siz: is not known",
        ),
        ({"left": [LEFT]}, "place: sweep", "finds room 7: its worker is closed, which is none of this state"),
        ({"left": ["room 7"]}, "place: sweep", "gives ['room 7'] where a Leftover is due"),
        ({"left": MissingError("away")}, "place: sweep", "MissingError: away"),
        ({"found": ["fine"]}, "diagnose", "gives ['fine'] where Checks are due"),
        ({"found": [Check("yard", "ok", "")]}, "diagnose", "says nothing in its check of ['yard']"),
    ],
)
def test_a_place_that_breaks_a_promise_is_told(change, row, detail):
    outcome = outcomes(Yard(**change))[row]
    assert outcome.state == "fail"
    assert outcome.detail.startswith(detail)


def test_what_a_place_declines_does_not_apply():
    plugin = Yard(type=WorkerType("local-yard", "robot"), left=None, found=None)
    plugin._say = lambda answer: None
    assert {outcome.state for outcome in outcomes(plugin).values()} == {"skip"}


def test_a_type_that_runs_another_plugins_agent_in_its_place_is_not_held_against_that_agent():
    found = {row.name: row.outcome() for row in rows_of(subject_of(host_of({"yard": Yard()}), "yard"))}
    assert [name for name, outcome in found.items() if outcome.state == "fail"] == []
    assert found["yard: samples"].detail == "its agent 'robot' is another plugin's"
    assert not {"yard: command", "yard: absurd", "yard: timeout"} & set(found)
