"""What a command finds in its container, and what it cannot do to what is outside."""

from __future__ import annotations

import shlex

import pytest

from mahavishnu_container.diagnosis import diagnose_types
from mahavishnu_core import WorkerStatus
from mahavishnu_core.errors import SettingsError, UsageError

pytestmark = pytest.mark.container
BOX = "box=${MAHAVISHNU_PROGRESS%/*}; "
WRITABLE = (
    "while read -r _ where kind modes _; do case $modes in rw*) echo $where $kind;; esac; done </proc/mounts"
)
KERNELS = {"proc", "tmpfs", "devpts", "mqueue", "cgroup", "sysfs", "shm", "overlay", "cgroup2"}


# --- rights


@pytest.mark.parametrize("user", [None, "65534"])
async def test_f4_a_command_has_no_rights_beyond_its_files(yard, user):
    yard.workspace.chmod(0o777)
    async with yard.worker(**{} if user is None else {"user": user}) as boxed:
        result = await boxed.do("grep -E '^(Cap...|NoNewPrivs|Seccomp):' /proc/self/status")
        told = dict(line.split(":\t") for line in result.output.splitlines())
        assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")


ATTEMPTS = [
    "mount -t tmpfs none /mnt",
    "mknod /tmp/disk b 8 0",
    "chown 1 /workspace",
    "hostname other",
    "ip link add x type dummy",
    "kill -KILL 1",
    "chroot / true",
    "unshare -m true",
    "echo other >/proc/sys/kernel/hostname",
    "mkdir /sys/fs/cgroup/pids/mine",
    "cat /proc/1/environ",
]


async def test_what_root_could_do_outside_cannot_be_done_inside(yard):
    async with yard.worker() as boxed:
        for attempt in ATTEMPTS:
            result = await boxed.do(f"({attempt}) >/dev/null 2>&1 && echo done; true")
            assert (result.status, result.output) == (WorkerStatus.COMPLETED, None), attempt


async def test_only_the_workspace_and_the_boxes_are_shared_and_writable(yard, tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "lent").mkdir()
    mounts = [
        {"source": f"{tmp_path}/given", "target": "/given", "writable": True},
        {"source": f"{tmp_path}/lent", "target": "/lent"},
    ]
    async with yard.worker(mounts=mounts) as boxed:
        result = await boxed.do(WRITABLE)
        shared = {line.split()[0] for line in result.output.splitlines() if line.split()[1] not in KERNELS}
        assert shared - {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} == {
            "/workspace",
            "/run/mahavishnu",
            "/given",
        }
        tried = await boxed.do("echo x >/given/made; echo x >/lent/made")
        assert "ead-only" in str(tried.metadata["evidence"])
    assert [path.name for path in (tmp_path / "given").iterdir()] == ["made"]
    assert list((tmp_path / "lent").iterdir()) == []


async def test_no_socket_of_a_daemon_or_keeper_is_there(yard):
    async with yard.worker() as boxed:
        result = await boxed.do("find / -xdev -type s 2>/dev/null; find /run /var /workspace -type s")
        assert set(result.output.split()) == {result.output.split()[0]}
        assert result.output.split()[0].endswith("/progress.sock")


# --- the box


async def test_nothing_of_the_state_directory_can_be_reached(yard):
    async with yard.worker() as boxed:
        result = await boxed.do(
            "ls -A /run/mahavishnu/..; ls -A /run/mahavishnu | wc -l;"
            "find / -name task.json -o -name worker.json -o -name keeper.sock 2>/dev/null"
        )
        assert result.output.split() == ["mahavishnu", "1"]


async def test_f5_links_that_are_planted_have_nobody_write_or_read_elsewhere(yard, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    quoted = shlex.quote(str(victim))
    names = "stdout stderr stdin control report reply progress.sock"
    plant = f"for name in {names}; do ln -sf {quoted} $box/$name; done;"
    async with yard.worker() as boxed:
        result = await boxed.do(BOX + plant + "echo said; exit 3")
        assert (result.exit_code, result.output) == (3, "said")
        assert not boxed.boxes
        assert (await boxed.do("echo works")).output == "works"
    assert victim.read_text() == "untouched"


async def test_a_link_in_the_place_of_the_boxes_of_later_tasks_is_not_followed(yard, tmp_path):
    (tmp_path / "victim").mkdir()
    async with yard.worker() as boxed:
        await boxed.do(f"cd /run/mahavishnu; ln -s {tmp_path}/victim link; mkdir own; : >own/file; : >file")
        assert (await boxed.do("echo works")).output == "works"
        assert {path.name for path in boxed.boxes} == {"link", "own", "file"}
        boxes = boxed.directory / "boxes"
    assert not boxes.exists()
    assert (tmp_path / "victim").is_dir()


async def test_what_a_command_writes_after_its_end_is_in_no_other_task(yard):
    async with yard.worker() as boxed:
        await boxed.do(BOX + "ln $box/stdout /run/mahavishnu/kept; echo first")
        first = boxed.task
        assert (await boxed.do("echo second")).output == "second"
        assert (first.directory / "stdout.jsonl").read_text() == "first\n"


# --- what has to be allowed


async def test_a_privileged_container_takes_its_word(yard):
    yard.workspace.chmod(0o777)
    async with yard.worker(privileged=True, user="65534", allow_unsafe=["privileged"]) as boxed:
        assert (await boxed.do("grep Seccomp: /proc/self/status")).output.split() == ["Seccomp:", "0"]
        assert boxed.container.attrs["HostConfig"]["Privileged"] is True


async def test_a_privileged_container_is_not_for_root(yard):
    async with yard.manager(privileged=True, allow_unsafe=["privileged"]) as manager:
        with pytest.raises(UsageError, match="needs a user other than root"):
            await yard.spawn(manager)


async def test_the_hosts_network_takes_its_word(yard):
    async with yard.worker(network="host", allow_unsafe=["host_network"]) as boxed:
        assert boxed.container.attrs["HostConfig"]["NetworkMode"] == "host"
        assert (await boxed.do("echo works")).output == "works"


@pytest.mark.parametrize("options", [{"privileged": True}, {"network": "host"}])
async def test_what_is_not_allowed_is_refused_before_anything_is_made(yard, options):
    yard.add_type(options=options)
    with pytest.raises(SettingsError, match="is not safe"):
        async with yard.manager():
            pass
    assert yard.daemon.containers() == []


async def test_a_workspace_that_lets_a_command_out_is_refused(yard):
    async with yard.manager() as manager:
        for path, word in [
            (yard.daemon.root, "docker_socket"),
            (yard.app.state.root, "state_dir"),
            (yard.app.state.root.parent, "state_dir"),
        ]:
            yard.workspace = path
            with pytest.raises(UsageError, match=f"or '{word}' in allow_unsafe"):
                await yard.spawn(manager)
    assert yard.daemon.containers() == []


# --- what is said of types


async def test_what_is_said_of_types(yard, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", "unix:///nowhere/podman.sock")
    yard.add_type("here")
    yard.add_type("absent", options={"image": "no-such/image"})
    yard.add_type("pulled", options={"image": "no-such/image", "pull": "missing"})
    yard.add_type("elsewhere", options={"runtime": "podman"})
    async with yard.manager() as manager:
        kinds = [manager.app.catalog.get(name) for name in ("here", "absent", "pulled", "elsewhere")]
        here, absent, pulled, elsewhere = await diagnose_types(manager.engine, kinds)
    assert (here.subject, here.grade) == ("type here", "ok")
    assert here.detail.startswith(f"agent shell in {yard.image}, docker ")
    assert (absent.grade, absent.advice) == ("warning", "get it with 'docker pull no-such/image'")
    assert (pulled.grade, "will be pulled first" in pulled.detail) == ("ok", True)
    assert (elsewhere.grade, elsewhere.detail) == (
        "warning",
        "Podman does not answer at /nowhere/podman.sock",
    )
    assert elsewhere.advice == "start it, or name its socket in CONTAINER_HOST"


async def test_what_is_said_when_the_daemon_is_down(yard):
    yard.daemon.kill()
    async with yard.manager() as manager:
        found = await manager.diagnose([manager.app.catalog.get("boxed")])
        (check,) = [check for check in found if check.subject == "type boxed"]
    yard.daemon.start()
    assert (check.grade, check.detail) == ("warning", f"Docker does not answer at {yard.daemon.socket}")
