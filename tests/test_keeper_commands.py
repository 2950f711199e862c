"""What a command that the keeper starts finds: files, environment, place; and how its end is told."""

from __future__ import annotations

import json
import os
import stat

import pytest

from mahavishnu_core.records import exit_from_json


async def test_output_is_kept_byte_for_byte(bench):
    (bench.cwd / "bytes").write_bytes(bytes(range(256)) * 300)
    done = await bench.run_sh("cat bytes; printf 'no end' >&2")
    assert done.stdout == bytes(range(256)) * 300
    assert done.stderr == b"no end"


async def test_standard_input_is_the_file_of_the_task_and_ends(bench):
    prompt = b"two lines\nand \xff no text, no end of line"
    assert (await bench.run_sh("cat; echo END", stdin=prompt)).stdout == prompt + b"END\n"


@pytest.mark.parametrize("code", [0, 1, 3, 255])
async def test_the_exit_status_is_told(bench, code):
    ended = (await bench.run_sh(f"exit {code}")).exit
    assert (ended.exit_code, ended.signal, ended.is_known) == (code, None, True)


@pytest.mark.parametrize("name", ["SEGV", "KILL", "TERM"])
async def test_the_signal_that_ended_a_command_is_told(bench, name):
    ended = (await bench.run_sh(f"kill -{name} $$")).exit
    assert (ended.exit_code, ended.signal, ended.is_known) == (None, f"SIG{name}", True)


async def test_what_the_engine_hears_is_what_lies_in_exit_json(bench):
    done = await bench.run_sh("sleep 0.1; exit 7")
    assert exit_from_json(json.loads((done.directory / "exit.json").read_bytes())) == done.exit
    assert 0.1 <= done.exit.duration_seconds < 20
    assert (done.exit.cause, done.exit.error, done.exit.strays, done.exit.survivors) == (None, None, (), ())


async def test_the_environment_is_what_the_engine_says_and_no_more(bench):
    done = await bench.run("/usr/bin/env", env={"GREETING": "grüß\nGott"})
    task_id = done.directory.name
    said = f"PATH={os.environ['PATH']}\nMAHAVISHNU_TASK={task_id}\nGREETING=grüß\nGott\n"
    assert sorted(done.stdout.decode().splitlines()) == sorted(said.splitlines())


async def test_bytes_that_are_no_text_pass_through_environment_and_arguments(bench):
    odd = os.fsdecode(b"caf\xe9")
    done = await bench.run("/bin/sh", "-c", 'printf "$1 $ODD"', "sh", odd, env={"ODD": odd})
    assert done.stdout == b"caf\xe9 caf\xe9"


async def test_k3_arguments_stay_whole(bench):
    words = ["", "two words", "$HOME `id` \"'\\", "-n", "*", "a\nb"]
    done = await bench.run("/bin/sh", "-c", 'for word; do printf "%s\\0" "$word"; done', "sh", *words)
    assert done.stdout.decode().split("\0") == [*words, ""]


async def test_the_umask_is_the_callers_and_the_tasks_files_are_private_all_the_same(bench):
    done = await bench.run_sh("umask; : > made", umask=0o027)
    assert done.stdout == b"0027\n"
    assert stat.S_IMODE((bench.cwd / "made").stat().st_mode) == 0o640
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in done.directory.iterdir()}
    private = ("stdout.jsonl", "stderr.log", "launch.json", "exit.json")
    assert {name: modes[name] for name in private} == dict.fromkeys(private, 0o600)


async def test_the_command_runs_in_its_workspace(bench):
    workspace = bench.cwd / "here and – there"
    workspace.mkdir()
    assert (await bench.run_sh("pwd -P", cwd=str(workspace))).stdout.decode() == f"{workspace.resolve()}\n"


async def test_a_workspace_that_is_gone_is_named(bench):
    missing = str(bench.cwd / "gone")
    ended = (await bench.run_sh("echo never", cwd=missing)).exit
    assert ended.error == f"No such file or directory: {missing}"
    assert ended.exit_code is None


async def test_a_program_that_is_gone_is_named(bench):
    ended = (await bench.run("/no/such/program")).exit
    assert ended.error == "No such file or directory: /no/such/program"


async def test_a_program_that_may_not_be_executed_is_named(bench):
    script = bench.cwd / "script"
    script.write_text("#!/bin/sh\n")
    assert (await bench.run(str(script))).exit.error == f"Permission denied: {script}"


async def test_an_argument_too_long_for_the_system_is_an_error_of_that_task_alone(bench):
    async with bench.link() as link:
        bad = bench.start(link, "/bin/echo", "x" * 200_000)
        good = bench.sh(link, "exit 0")
        ended, other = await bad.wait(), await good.wait()
    assert ended.error == "Argument list too long: /bin/echo"
    assert other.exit_code == 0


NO_COMMANDS = [
    {"argv": ["/bin/echo", "a\0b"]},
    {"argv": []},
    {"env": {"A=B": "c"}},
    {"env": {"A": "b\0c"}},
    {"cwd": "a\0b"},
]


@pytest.mark.parametrize("change", NO_COMMANDS, ids=repr)
async def test_what_no_command_can_have_is_an_error_of_that_task_alone(bench, change):
    async with bench.link() as link:
        task = bench.task()
        bad = link.launch(task, bench.launch(task, "/bin/true")._replace(**change))
        good = bench.sh(link, "exit 0")
        ended, other = await bad.wait(), await good.wait()
        first = bench.keeper()
        third = await bench.sh(link, "exit 0").wait()
        assert bench.keeper() == first
    assert ended.error
    assert ended.exit_code is None
    assert (other.exit_code, third.exit_code) == (0, 0)


async def test_k2_only_the_three_standard_files_are_inherited(bench):
    done = await bench.run_sh("ls /proc/$$/fd")
    assert done.stdout.split() == [b"0", b"1", b"2"]


async def test_signals_are_as_a_fresh_program_expects_them(bench):
    done = await bench.run("/bin/grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status")
    of_libc = 0b11 << 31  # 32 and 33: nobody but the C library may touch them
    assert [int(line.split()[1], 16) & ~of_libc for line in done.stdout.splitlines()] == [0, 0]


async def test_a_command_leads_a_session_of_its_own_without_a_terminal(bench):
    done = await bench.run_sh("read -r stat < /proc/$$/stat; echo $stat")
    pid, _, _, _, group, session, terminal, *_ = done.stdout.split()
    assert pid == group == session
    assert terminal == b"0"


async def test_k5_a_link_planted_for_an_output_file_is_not_followed(bench):
    async with bench.link() as link:
        task = bench.task()
        (bench.cwd / "victim").write_text("untouched")
        (task.directory / "stdout.jsonl").symlink_to(bench.cwd / "victim")
        ended = await link.launch(task, bench.launch(task, "/bin/echo", "overwritten")).wait()
    assert (bench.cwd / "victim").read_text() == "untouched"
    assert ended.error
