"""``workers batch``: the forms of its file, its faults, and going on where it stopped."""

from __future__ import annotations

import json
import signal

import pytest

ITEMS = [
    {"prompt": "echo one", "id": "first"},
    {"prompt": "echo two; exit 3", "timeout": 60},
    {"prompt": "pwd", "repo": "sub"},
]


def _batch(home, items, name: str = "tasks.jsonl") -> str:
    (home.work / name).write_text("".join(json.dumps(item) + "\n" for item in items))
    return name


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
    ]
    ran = home.run("workers", "batch", _batch(home, items), "-t", "shell")
    assert ran.status == 2
    told = [line.removeprefix("mahavishnu: tasks.jsonl: ") for line in ran.err.splitlines()]
    assert [line for line in told if not line.startswith("item ")] == []
    for said in (
        "item 1: promt: is not known here",
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
        "item 5: id: must be text or a whole number",
        "item 6: wanted keys with values",
    ):
        assert any(line.startswith(said) for line in told), said
    assert not list(home.state.glob("workers/*"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.yaml", "- prompt: 'x\n", "is not YAML"),
        ("t.yaml", "prompt: x\n", "wanted a list of tasks"),
        ("t.json", "[{]", "is not JSON"),
        ("t.jsonl", '{"prompt": "x"}\n{"prompt"\n', "line 2: is not JSON"),
        ("t.yaml", "", "wanted a list of tasks"),
    ],
)
def test_a_file_that_is_no_batch_is_refused(home, name, text, said):
    (home.work / name).write_text(text)
    ran = home.run("workers", "batch", name, "-t", "shell")
    assert ran.status == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_missing_program_is_said_once_for_all_items(home):
    entry = "workers:\n  - {name: gone, agent: generic, command_template: no-such-program}\n"
    home.write("conf/ecosystem.yaml", entry)
    ran = home.run("--config", "conf", "workers", "batch", _batch(home, [{"prompt": "x"}] * 3), "-t", "gone")
    assert ran.status == 3
    assert ran.err.count("'no-such-program' is not installed") == 1
    assert ran.out.endswith("0 successful, 3 failed\n")


def test_an_empty_batch_has_nothing_to_do(home):
    ran = home.run("workers", "batch", _batch(home, []), "-t", "shell", "--json")
    assert (ran.status, ran.json) == (0, [])
