"""``workers batch``: the forms of its file, its faults, and going on where it stopped."""

from __future__ import annotations

import json
import signal
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mahavishnu_cli.batch_file import Known, Source, read_items
from mahavishnu_core.errors import UsageError
from mahavishnu_core.text import printable

ITEMS = [
    {"prompt": "echo one", "id": "first"},
    {"prompt": "echo two; exit 3", "timeout": 60},
    {"prompt": "pwd", "repo": "sub"},
]


def _batch(home, items, name: str = "tasks.jsonl") -> str:
    (home.work / name).write_text("".join(json.dumps(item) + "\n" for item in items))
    return name


def _refuses(name: str) -> None:
    raise UsageError(f"{printable(name)!r} is not known")


def _journal_lines(home) -> list[dict]:
    (journal,) = home.state.glob("batches/*.jsonl")
    return [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.mark.parametrize("name", ["tasks.yaml", "tasks.json", "tasks.jsonl"])
def test_a_batch_may_be_yaml_json_or_json_lines(home, name):
    (home.work / "sub").mkdir()
    form = "".join(json.dumps(item) + "\n" for item in ITEMS) if name.endswith("l") else json.dumps(ITEMS)
    (home.work / name).write_text(json.dumps(ITEMS) if name.endswith("yaml") else form)
    ran = home.run("workers", "batch", name, "-t", "shell", "--json")
    assert ran.status == 1
    assert [(each["metadata"]["item"], each["status"]) for each in ran.json] == [
        ("first", "completed"),
        ("2", "failed"),
        ("3", "completed"),
    ]
    assert ran.json[2]["output"] == str(home.work / "sub")
    assert home.run("workers", "list", "--json").json == []


def test_items_that_have_a_result_are_not_run_again(home):
    name = _batch(home, [{"prompt": "echo x >> log; echo x", "id": "a"}, {"prompt": "echo y >> log"}])
    assert home.run("workers", "batch", name, "-t", "shell").status == 0
    again = home.run("workers", "batch", name, "-t", "shell", "--json")
    assert "2 results taken from before, 0 still running, 0 to begin" in again.err
    assert [each["metadata"]["item"] for each in again.json] == ["a", "2"]
    assert sorted((home.work / "log").read_text().split()) == ["x", "y"]


def test_an_item_with_an_id_may_move_and_others_are_known_by_their_place_and_words(home):
    home.run(
        "workers", "batch", _batch(home, [{"prompt": "echo a", "id": 7}, {"prompt": "echo b"}]), "-t", "shell"
    )
    moved = _batch(home, [{"prompt": "echo new"}, {"prompt": "echo b"}, {"prompt": "echo a", "id": 7}])
    ran = home.run("workers", "batch", moved, "-t", "shell", "--json")
    assert "2 results taken from before, 0 still running, 1 to begin" in ran.err
    assert [each["output"] for each in ran.json] == ["new", "b", "a"]


def test_what_failed_is_done_again_only_on_demand(home):
    name = _batch(home, [{"prompt": "test -e there && echo yes"}, {"prompt": "echo z >> log"}])
    assert home.run("workers", "batch", name, "-t", "shell").status == 1
    (home.work / "there").write_text("")
    assert home.run("workers", "batch", name, "-t", "shell").status == 1
    ran = home.run("workers", "batch", name, "-t", "shell", "--retry")
    assert ran.status == 0
    assert "1 result taken from before, 0 still running, 1 to begin" in ran.err
    assert (home.work / "log").read_text() == "z\n"
    home.run("workers", "batch", name, "-t", "shell", "--fresh")
    assert (home.work / "log").read_text() == "z\nz\n"


def test_an_interrupted_batch_goes_on_where_it_stopped(home, waiting, bell, gate, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_MAX_CONCURRENT_WORKERS", "1")
    name = _batch(home, [{"prompt": "echo done >> log"}, {"prompt": waiting}, {"prompt": "echo last >> log"}])
    process = home.start("workers", "batch", name, "-t", "shell", "--json")
    bell.heard()
    process.send_signal(signal.SIGINT)
    ran = home.finish(process)
    assert ran.status == 130
    assert [each["status"] for each in ran.json] == ["completed", "cancelled"]
    assert "1 not begun" in ran.err
    process = home.start("workers", "batch", name, "-t", "shell", "--json")
    bell.heard()
    gate.let_in()
    ran = home.finish(process)
    assert (ran.status, len(ran.json)) == (0, 3)
    assert "1 result taken from before, 0 still running, 2 to begin" in ran.err
    assert (home.work / "log").read_text() == "done\nlast\n"


@pytest.mark.thorough
def test_a_killed_batch_follows_what_still_runs(home, waiting, bell, gate):
    name = _batch(home, [{"prompt": waiting, "id": "slow"}])
    process = home.start("workers", "batch", name, "-t", "shell")
    bell.heard()
    process.kill()
    home.finish(process)
    process = home.start("workers", "batch", name, "-t", "shell", "--json")
    assert "0 results taken from before, 1 still running, 0 to begin" in process.stderr.readline()
    gate.let_in()
    ran = home.finish(process)
    assert (ran.status, [each["output"] for each in ran.json]) == (0, ["begun\ndone"])
    assert len(_journal_lines(home)) == 1
    assert home.run("workers", "list", "--json").json == []


def test_a_journal_that_was_cut_off_in_the_middle_of_a_line_is_read(home):
    name = _batch(home, [{"prompt": "echo one", "id": "a"}])
    home.run("workers", "batch", name, "-t", "shell")
    (journal,) = home.state.glob("batches/*.jsonl")
    with journal.open("a") as file:
        file.write('{"key": "id b", "ta')
    again = _batch(home, [{"prompt": "echo one", "id": "a"}, {"prompt": "echo two", "id": "b"}])
    ran = home.run("workers", "batch", again, "-t", "shell")
    assert "1 result taken from before, 0 still running, 1 to begin" in ran.err
    ran = home.run("workers", "batch", again, "-t", "shell")
    assert "2 results taken from before" in ran.err


def test_one_batch_is_carried_out_by_one_program_at_a_time(home, waiting, bell, gate):
    name = _batch(home, [{"prompt": waiting}])
    process = home.start("workers", "batch", name, "-t", "shell")
    bell.heard()
    ran = home.run("workers", "batch", name, "-t", "shell")
    assert ran.status == 2
    assert "is being carried out already" in ran.err
    gate.let_in()
    assert home.finish(process).status == 0


def test_items_of_one_worker_are_done_one_after_the_other(home):
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    items = [{"prompt": f"echo {number} >> log", "worker_id": worker_id} for number in range(4)]
    ran = home.run("workers", "batch", _batch(home, items), "--json")
    assert [each["worker_id"] for each in ran.json] == [worker_id] * 4
    assert (home.work / "log").read_text().split() == ["0", "1", "2", "3"]
    assert [each["worker_id"] for each in home.run("workers", "list", "--json").json] == [worker_id]


@pytest.mark.thorough
def test_an_item_begins_only_when_there_is_a_slot_for_it(home, waiting, bell, gate, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_MAX_CONCURRENT_WORKERS", "1")
    name = _batch(home, [{"prompt": waiting}, {"prompt": waiting}])
    process = home.start("workers", "batch", name, "-t", "shell", "--json")
    bell.heard()
    assert len(home.run("workers", "list", "--all", "--json").json) == 1
    gate.let_in()
    bell.heard()
    assert [each["status"] for each in home.run("workers", "list", "--json").json] == ["running"]
    gate.let_in()
    assert [each["status"] for each in home.finish(process).json] == ["completed", "completed"]


def test_all_faults_of_a_batch_are_said_at_once_with_their_items(home):
    items = [
        {"promt": "x"},
        {"prompt": " ", "timeout": 5},
        {"prompt": "x", "worker_type": "shel", "id": "same"},
        {"prompt": "x", "worker_type": "shell", "worker_id": "nope", "id": "same"},
        {"prompt": 3, "repo": "gone", "timeout": True, "id": [1]},
        "x",
        {"prompt": "\ud800", "id": "", "speed": 1},
    ]
    ran = home.run("workers", "batch", _batch(home, items), "-t", "shell")
    assert ran.status == 2
    told = [line.removeprefix("mahavishnu: tasks.jsonl:") for line in ran.err.splitlines()]
    assert {line.partition(": ")[0] for line in told} == set("1234567")
    for said in (
        "item 1: promt: is not known here (did you mean 'prompt'?)",
        "item 1: prompt: is missing",
        "item 2: prompt: is empty",
        "item 2: timeout: must be a number of seconds from 30 to 3600",
        "item 3: worker_type: unknown worker type 'shel' (did you mean 'shell'?)",
        "item 4: worker_id: names a worker that is there",
        "item 4: worker_id: there is no worker 'nope'",
        "item 4: id: 'same' is that of item 3 already",
        "item 5: prompt: must be text",
        "item 5: repo: ",
        "item 5: timeout: ",
        "item 5: id: must be text, or a whole number of at most 18 digits",
        "item 6: wanted keys with values",
        "item 7: prompt: holds half a character",
        "item 7: id: is empty",
        "item 7: speed: is not known here; the keys are prompt, worker_type",
    ):
        assert any(line.startswith(f"{said[5]}: {said}") for line in told), said
    assert not list(home.state.glob("workers/*"))


def test_a_fault_in_yaml_is_said_with_its_own_line(home):
    home.write("t.yaml", "- prompt: x\n  id: a\n\n- prompt: y\n  timeout: 5\n  id: a\n- id: b\n")
    assert home.run("workers", "batch", "t.yaml").err.splitlines() == [
        "mahavishnu: t.yaml:5: item 2: timeout: must be a number of seconds from 30 to 3600",
        "mahavishnu: t.yaml:7: item 3: prompt: is missing",
        "mahavishnu: t.yaml:6: item 2: id: 'a' is that of item 1 already",
    ]


LONG = "9" * 5000
TOO_LONG = "id: must be text, or a whole number of at most 18 digits"
NO_TIMEOUT = "timeout: must be a number of seconds from 30 to 3600"
NO_BATCHES = [
    ("t.yaml", "- prompt: 'x\n", ":2: is not YAML: found unexpected end of stream"),
    ("t.yaml", "prompt: x\n", ":1: must be a list: - VALUE"),
    ("t.yaml", "- &a {prompt: x}\n- *a\n", ":2: aliases (*name) are not read here: write the value out"),
    ("t.yaml", "- prompt: x\n  prompt: y\n", ":2: prompt: is here twice, first on line 1"),
    ("t.yaml", "- {prompt: x, id: !!python/name:os.abort }\n", ":1: id: tags (!name) are not allowed"),
    ("t.yaml", f"- prompt: x\n  id: 0x{LONG}\n", f":2: item 1: {TOO_LONG}"),
    ("t.yaml", "[" * 50_000, ":1: is nested too deep"),
    ("t.yaml", "- " * 50_000, ":1: is nested too deep"),
    ("t.json", "[\n{]", ":2: is not JSON: expecting property name enclosed in double quotes (column 2)"),
    ("t.json", '{"prompt": "x"}', ':1: must be a list: [{"prompt": …}, …]'),
    ("t.json", '[{"prompt": "x", "prompt": "y"}]', ": item 1: prompt: is here twice"),
    ("t.json", '[{"prompt": "x", "timeout": NaN}]', f": item 1: {NO_TIMEOUT}"),
    ("t.json", f'[{{"prompt": "x", "timeout": {LONG}}}]', f": item 1: {NO_TIMEOUT}"),
    ("t.json", f'[{{"prompt": "x", "id": {LONG}}}]', f": item 1: {TOO_LONG}"),
    ("t.json", "[" * 100_000, ": is nested too deep"),
    ("t.json", '[{"prompt": "\0"}]', ":1: is not JSON: invalid control character at (column 14)"),
    ("t.jsonl", '{"prompt": "x"}\n{"prompt"\n', ":2: is not JSON: expecting ':' delimiter (column 10)"),
    ("t.jsonl", '\n{"prompt": "x", "id": 1, "id": 2}', ":2: item 1: id: is here twice"),
    ("t.jsonl", '{"prompt": "x"}\n' + "[" * 100_000, ":2: is nested too deep"),
]


@pytest.mark.parametrize(("name", "text", "said"), NO_BATCHES, ids=lambda text: text[:30])
def test_a_file_that_is_no_batch_is_refused(home, name, text, said):
    home.write(name, text)
    ran = home.run("workers", "batch", name, "-t", "shell")
    assert (ran.status, ran.out, ran.err) == (2, "", f"mahavishnu: {name}{said}\n")
    assert not (home.state / "workers").exists()


@pytest.mark.parametrize("name", ["t.yaml", "t.json", "t.jsonl"])
def test_a_batch_is_utf8_without_a_mark(home, name):
    for content, said in (
        (b"\n\xff", ":2: is not UTF-8 text"),
        (b"\xef\xbb\xbf[]", ":1: begins with a byte order mark: save it as UTF-8 without one"),
    ):
        (home.work / name).write_bytes(content)
        ran = home.run("workers", "batch", name)
        assert (ran.status, ran.err) == (2, f"mahavishnu: {name}{said}\n")


def test_more_faults_than_anybody_reads_are_cut_and_that_is_said(home):
    told = home.run("workers", "batch", _batch(home, [{}] * 60)).err.splitlines()
    assert len(told) == 51
    assert told[-1] == "mahavishnu: tasks.jsonl: has more faults than are listed here"


def test_an_id_that_is_the_number_of_another_item_is_refused(home):
    items = [{"prompt": "echo", "id": "2"}, {"prompt": "echo"}, {"prompt": "echo", "id": 1}]
    ran = home.run("workers", "batch", _batch(home, items), "-t", "shell")
    told = "item 1: id: '2' is the number of item 2, which has no id: give it one"
    assert (ran.status, ran.err) == (2, f"mahavishnu: tasks.jsonl:1: {told}\n")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
KEYS = st.sampled_from(["prompt", "worker_type", "worker_id", "timeout", "repo", "id", "promt"])
RECORDS = st.dictionaries(KEYS | PLAIN, PLAIN | st.lists(PLAIN, max_size=2), max_size=4)
TEXTS = (
    st.text()
    | st.text("{}[]:,-&*!?|>'\"# \n\taA01.%@`<=~")
    | st.lists(RECORDS).map(yaml.safe_dump)
    | st.lists(st.dictionaries(KEYS, PLAIN.filter(lambda value: not isinstance(value, date)))).map(json.dumps)
)


@pytest.mark.thorough
@given(form=st.sampled_from([".yaml", ".json", ".jsonl"]), text=TEXTS)
@example(form=".json", text='[{"prompt": "x", "id": 1e400, "timeout": -Infinity}]')
def test_i2_whatever_a_batch_holds_it_is_read_or_an_error_says_why(form, text):
    known = Known(worker_type=_refuses, worker_id=_refuses)
    source = Source("batch", "", Path("/nowhere"), form, text)
    try:
        said = [f"{item.name} {item.key}" for item in read_items(source, known)]
    except UsageError as error:
        said = str(error).split("\n")
        assert all(line == printable(line) for line in said)
    assert all(said)
    assert len(said) == len(set(said))


def test_a_missing_program_is_said_once_for_all_items(home):
    entry = "workers:\n  - {name: gone, agent: generic, command_template: no-such-program}\n"
    home.write("conf/ecosystem.yaml", entry)
    ran = home.run("--config", "conf", "workers", "batch", _batch(home, [{"prompt": "x"}] * 3), "-t", "gone")
    assert ran.status == 3
    assert ran.err.count("'no-such-program' is not installed") == 1
    assert ran.out.endswith("0 successful, 3 failed\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.yaml", ""),
        ("t.yaml", "# none yet\n"),
        ("t.yaml", "[]"),
        ("t.json", " \n"),
        ("t.json", "[]"),
        ("t.jsonl", ""),
        ("t.jsonl", "\n \n"),
        ("t", ""),
    ],
)
def test_a_batch_without_tasks_is_refused(home, name, text):
    home.write(name, text)
    ran = home.run("workers", "batch", name, "-t", "shell", "--json")
    assert (ran.status, ran.out, ran.err) == (2, "", f"mahavishnu: {name}: holds no tasks\n")


def test_all_again_and_only_what_failed_again_contradict_each_other(home):
    name = _batch(home, [{"prompt": "echo x >> log"}])
    ran = home.run("workers", "batch", name, "-t", "shell", "--fresh", "--retry")
    assert ran.status == 2
    assert "--fresh carries out everything again, --retry what did not complete: choose one" in ran.err
    assert not (home.work / "log").exists()


@pytest.mark.parametrize(
    "text",
    [
        "# tasks\n- prompt: echo one\n- {prompt: pwd, repo: sub}\n",
        '\n[\n\t{"prompt":\n"echo one"}, {"prompt": "pwd", "repo": "sub"}]',
        '\n{"prompt": "echo one"}\n\n{"prompt": "pwd", "repo": "sub"}',
    ],
    ids=["YAML", "JSON", "JSON lines"],
)
def test_a_batch_comes_by_standard_input_in_any_form(home, text):
    (home.work / "sub").mkdir()
    ran = home.script("workers", "batch", "-", "-t", "shell", "--json", given=text)
    assert [each["output"] for each in ran.json] == ["one", str(home.work / "sub")]
    assert ran.status == 0


def test_a_fault_in_a_batch_by_standard_input_is_said_with_its_line(home):
    ran = home.script("workers", "batch", "-", given='{"prompt": "x"}\n{"promt": "x", "prompt": "y"}\n')
    told = "standard input:2: item 2: promt: is not known here (did you mean 'prompt'?)"
    assert (ran.status, ran.err) == (2, f"mahavishnu: {told}\n")


@pytest.mark.thorough
def test_a_batch_by_standard_input_goes_on_where_it_stopped_if_it_says_the_same_in_the_same_place(home):
    def goes_on(text: str, **options: object) -> bool:
        ran = home.script("workers", "batch", "-", "-t", "shell", given=text, **options)
        assert ran.status == 0
        return "2 results taken from before, 0 still running, 0 to begin" in ran.err

    tasks = '{"prompt": "echo one", "id": "a"}\n{"prompt": "echo two"}\n'
    (home.work / "sub").mkdir()
    assert not goes_on(tasks)
    assert goes_on(tasks)
    assert not goes_on(f"{tasks}\n")
    assert not goes_on(tasks, cwd=home.work / "sub")


def test_a_file_with_the_name_of_standard_input_is_reached_by_its_directory(home):
    home.write("-", '{"prompt": "echo file"}\n')
    ran = home.run("workers", "batch", "./-", "-t", "shell", "--json")
    assert [each["output"] for each in ran.json] == ["file"]


def test_a_worker_whose_files_somebody_has_replaced_costs_the_other_items_nothing(home):
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    tasks = home.path / f"state/workers/{worker_id}/tasks"
    tasks.rmdir()
    tasks.write_text("")
    items = [{"prompt": "echo hers", "worker_id": worker_id}, {"prompt": "echo mine", "worker_type": "shell"}]
    ran = home.run("workers", "batch", _batch(home, items), "--json")
    assert [result["status"] for result in ran.json] == ["failed", "completed"]
    assert (ran.status, "Not a directory" in ran.err) == (4, True)
