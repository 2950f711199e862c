"""The options of worker types: laid over each other, checked by their place, and read by it again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import attrs
import pytest

from mahavishnu_core import WorkerType, hookimpl
from mahavishnu_core.app import App
from mahavishnu_core.errors import MissingError, SettingsError
from mahavishnu_core.models import Worker
from mahavishnu_core.records import worker_from_json, worker_to_json
from mahavishnu_core.settings import Rule, read_options
from mahavishnu_core.testing.fakes import app_of


@attrs.frozen
class Gate:
    source: str
    is_open: bool = False


@attrs.frozen
class YardOptions:
    image: str = "plain"
    size: Annotated[int, Rule("must be from 1 to 9", lambda size: 1 <= size <= 9)] = 1
    weight: float | None = None
    surface: Literal["grass", "sand"] = "grass"
    gates: tuple[Gate, ...] = ()
    labels: Mapping[str, str] = attrs.field(factory=dict)

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.surface == "sand" and self.size > 5:
            yield "size", "must be at most 5 on sand"
        for index, gate in enumerate(self.gates):
            if gate.source == "nowhere":
                yield f"gates.{index}.source", "leads nowhere"


@attrs.frozen
class Demanding:
    image: str

    def faults(self) -> Iterator[tuple[str, str]]:
        return iter(())


YARD = WorkerType("yard", "robot", "yard", command_template="robot")


@attrs.define
class Yard:
    """The place ``yard``, with whatever class of options, and one worker type."""

    options: object = YardOptions
    type: WorkerType = YARD

    @hookimpl
    def worker_types(self) -> list[WorkerType]:
        return [self.type, WorkerType("robot", "robot", command_template="robot")]

    @hookimpl
    def place_options(self, place: str) -> object:
        if place != "yard":
            return None
        if isinstance(self.options, Exception):
            raise self.options
        return self.options


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "mahavishnu").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def write(home: Path) -> Callable[[str], None]:
    def write(text: str, directory: str = "config/mahavishnu") -> None:
        (home / directory).mkdir(exist_ok=True)
        (home / directory / "ecosystem.yaml").write_text(text)

    return write


@pytest.fixture
def app(home: Path) -> App:
    return app_of(home, yard=Yard())


def problems(app: App) -> list[str]:
    """What is wrong with the settings, the user's directory left out."""
    with pytest.raises(SettingsError) as caught:
        app.catalog  # noqa: B018
    return [line.rpartition("config/mahavishnu/")[2] for line in caught.value.problems]


def unavailable(app: App, name: str) -> str | None:
    return next(entry.unavailable for entry in app.catalog.entries if entry.type.name == name)


BOXED = """workers:
  - name: boxed
    agent: robot
    place: yard
    options:
"""


# --- laid over each other


def test_layers_lay_options_over_each_other_key_by_key(app, write, home):
    write(BOXED + "      image: mine\n      size: 3\n")
    write("workers:\n  - name: boxed\n    options:\n      size: 4\n", "given")
    over = attrs.evolve(app, config_dir=home / "given")
    assert over.catalog.get("boxed").options == {"image": "mine", "size": 4}


def test_an_entry_changes_single_options_of_a_plugins_type(home, write):
    app = app_of(home, yard=Yard(type=attrs.evolve(YARD, options={"image": "its", "size": 2})))
    write("workers:\n  - name: yard\n    options: {size: 3}\n")
    assert app.catalog.get("yard").options == {"image": "its", "size": 3}


def test_the_options_of_one_place_are_not_those_of_another(home, write):
    app = app_of(home, yard=Yard(type=attrs.evolve(YARD, options={"image": "its"})))
    write("workers:\n  - name: yard\n    place: local\n  - {name: plain-robot, agent: robot}\n")
    assert [app.catalog.get(name).options for name in ("yard", "plain-robot")] == [{}, {}]


def test_options_are_kept_with_a_worker_and_read_again_by_its_place(app, write):
    write(BOXED + "      gates: [{source: /src, is_open: true}]\n      weight: 2\n      labels: {a: b}\n")
    kind = app.catalog.get("boxed")
    worker = Worker("w", kind, Path("/workspace"), "now")
    assert worker_from_json(worker_to_json(worker)) == worker
    options = read_options(worker_from_json(worker_to_json(worker)).type, YardOptions)
    assert options == YardOptions(weight=2.0, gates=(Gate("/src", True),), labels={"a": "b"})


# --- what is wrong with them


def test_all_faults_of_all_types_are_said_at_once_with_file_and_line(app, write):
    write(
        BOXED
        + "      imge: x\n"
        + "      size: 10\n"
        + "      gates:\n"
        + "        - source: a\n"
        + "        - {source: 3, lock: yes}\n"
        + "  - name: other\n    agent: robot\n    place: yard\n    options: {surface: sad}\n"
    )
    assert problems(app) == [
        "ecosystem.yaml:6: workers.boxed.options.imge: is not known here (did you mean 'image'?)",
        "ecosystem.yaml:7: workers.boxed.options.size: must be from 1 to 9",
        "ecosystem.yaml:10: workers.boxed.options.gates.1.source: wanted text, got a whole number "
        "(put it in quotes)",
        "ecosystem.yaml:10: workers.boxed.options.gates.1.lock: is not known here",
        "ecosystem.yaml:14: workers.other.options.surface: wanted one of 'grass', 'sand' "
        "(did you mean 'sand'?)",
    ]


def test_what_is_wrong_between_fields_is_said_where_it_stands(app, write):
    write(BOXED + "      surface: sand\n      gates:\n        - source: nowhere\n      size: 6\n")
    assert problems(app) == [
        "ecosystem.yaml:8: workers.boxed.options.gates.0.source: leads nowhere",
        "ecosystem.yaml:9: workers.boxed.options.size: must be at most 5 on sand",
    ]


def test_a_fault_is_said_of_the_file_that_set_the_option_last(app, write, home):
    write(BOXED + "      imge: x\n      size: 3\n")
    write("workers:\n  - name: boxed\n    options:\n      size: 30\n", "given")
    lines = problems(attrs.evolve(app, config_dir=home / "given"))
    assert lines[0].startswith("ecosystem.yaml:6: workers.boxed.options.imge: ")
    assert lines[1] == f"{home}/given/ecosystem.yaml:4: workers.boxed.options.size: must be from 1 to 9"


def test_nothing_is_coerced_and_no_value_is_shown(app, write):
    write(BOXED + "      size: '3'\n      image: 5\n      labels: {a: [sesame]}\n      weight:\n")
    assert [line.partition(".options.")[2] for line in problems(app)] == [
        "size: wanted a whole number, got text",
        "image: wanted text, got a whole number (put it in quotes)",
        "labels.a: wanted text, got a list",
        "weight: wanted a number, got nothing",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("options: 3", "workers[0].options: wanted keys with values, got a whole number"),
        (
            "options: {a: .nan}",
            "workers[0].options.a: must be text, a finite number, true or false, a list, or "
            "keys with values, at most 16 deep",
        ),
    ],
)
def test_options_are_plain_data_under_keys(app, write, text, fault):
    write(f"workers:\n  - name: yard\n    {text}\n")
    assert problems(app) == [f"ecosystem.yaml:3: {fault}"]


def test_the_place_local_has_no_options(app, write):
    write("workers:\n  - name: robot\n    options: {image: x}\n")
    assert problems(app) == ["ecosystem.yaml:3: workers.robot.options: place 'local' has no options"]


def test_an_option_that_must_be_there_is_missed_also_where_none_is_given(home, write):
    app = app_of(home, yard=Yard(Demanding, attrs.evolve(YARD, options={"image": "x"})))
    write("workers:\n  - {name: boxed, agent: robot,\n     place: yard}\n")
    assert problems(app) == ["ecosystem.yaml:2: workers.boxed.options.image: is missing"]


def test_an_entry_whose_place_nobody_offers_is_unavailable_and_not_checked(app, write):
    write("workers:\n  - {name: boxed, agent: robot, place: moon, options: {what: ever}}\n")
    assert "no plugin for the place 'moon' is loaded" in str(unavailable(app, "boxed"))


def test_an_entry_whose_agent_nobody_offers_is_checked_all_the_same(app, write):
    write("workers:\n  - {name: boxed, agent: nobody, place: yard, options: {size: 0}}\n")
    assert problems(app) == ["ecosystem.yaml:2: workers.boxed.options.size: must be from 1 to 9"]


def test_options_in_a_file_that_is_not_trusted_are_not_looked_at(app, write):
    write(BOXED + "      size: 0\n", ".mahavishnu")
    assert "boxed" not in [entry.type.name for entry in app.catalog.entries]
    assert "not trusted yet" in app.loaded.warnings[0]


def test_a_manager_is_not_made_with_options_that_are_wrong(app, write):
    from mahavishnu_core import WorkerManager

    write(BOXED + "      size: 0\n")
    with pytest.raises(SettingsError, match="must be from 1 to 9"):
        WorkerManager(app)


# --- what plugins get wrong


def test_a_plugins_own_type_with_wrong_options_is_unavailable(home):
    app = app_of(home, yard=Yard(type=attrs.evolve(YARD, options={"size": 0, "x": 1})))
    assert unavailable(app, "yard") == (
        "workers.yard.options.size: must be from 1 to 9; workers.yard.options.x: is not known here"
    )
    with pytest.raises(MissingError, match=r"is not available: workers\.yard\.options\.size"):
        app.catalog.get("yard")


def test_an_entry_that_says_nothing_of_it_does_not_answer_for_a_plugins_option(home, write):
    app = app_of(home, yard=Yard(type=attrs.evolve(YARD, options={"size": 0})))
    write("workers:\n  - {name: yard, timeout_seconds: 9.0, options: {image: x}}\n")
    assert unavailable(app, "yard") == "workers.yard.options.size: must be from 1 to 9"


class _Broken(YardOptions):
    def faults(self) -> Iterator[tuple[str, str]]:
        raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (RuntimeError("away"), "plugin 'yard' (mahavishnu-core) failed in place_options: RuntimeError: away"),
        ("a class", "place_options answers str for 'yard', where an attrs class is due"),
        (
            _Broken,
            "its options cannot be read: _Broken of the place 'yard' fails: RuntimeError: no idea",
        ),
    ],
)
def test_a_place_that_cannot_check_makes_its_types_unavailable_and_no_others(home, options, reason):
    app = app_of(home, yard=Yard(options))
    assert (unavailable(app, "yard"), unavailable(app, "robot")) == (reason, None)


def test_options_that_are_no_mapping_are_no_worker_type(home):
    app = app_of(home, yard=Yard(type=attrs.evolve(YARD, options=["image"])))
    assert "yard" not in [entry.type.name for entry in app.catalog.entries]
    assert app.catalog.problems == (
        "plugin 'yard' offers a worker type 'yard' whose 'options' is list, no mapping: it is not used",
    )


def test_reading_options_says_all_that_is_wrong():
    kind = WorkerType("boxed", "robot", "yard", options={"size": 0, "imge": "x"})
    with pytest.raises(SettingsError) as caught:
        read_options(kind, YardOptions)
    assert caught.value.problems == (
        "workers.boxed.options.size: must be from 1 to 9",
        "workers.boxed.options.imge: is not known here (did you mean 'image'?)",
    )


# --- what it costs


def test_types_without_options_are_read_without_cattrs():
    code = """
import sys
from mahavishnu_core import WorkerType
from mahavishnu_core.settings import read_options
import attrs

@attrs.frozen
class Yard:
    size: int = 1
    def faults(self):
        return ()

assert read_options(WorkerType("yard", "robot", "yard"), Yard) == Yard()
print("cattrs" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
