"""Options, and what a daemon is told to make of them; how it is found, and what is said when it is not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from http.client import IncompleteRead
from pathlib import Path

import attrs
import pytest
import requests
import urllib3
from docker.errors import APIError, DockerException

from mahavishnu_container import danger, hooks
from mahavishnu_container.images import progress_of
from mahavishnu_container.options import ContainerOptions
from mahavishnu_container.place import require_safe
from mahavishnu_container.recipe import User, recipe, user_of
from mahavishnu_container.runtime import PATIENCE, explained, find_socket, kind_of
from mahavishnu_core import WorkerType
from mahavishnu_core.errors import MahavishnuError, MissingError, SettingsError, UsageError
from mahavishnu_core.models import Worker
from mahavishnu_core.settings import read_options
from mahavishnu_core.testing.fakes import app_of

KIND = WorkerType("boxed", "shell", "container")
HEAVY_FOR_A_SHIM = {
    "contextlib",
    "json",
    "pathlib",
    "re",
    "select",
    "shutil",
    "socket",
    "subprocess",
    "typing",
}
HEAVY = {"attrs", "docker", "json", "requests", "trio", "urllib3", "mahavishnu_core.settings"}


@pytest.fixture(autouse=True)
def daemons(tmp_path, monkeypatch):
    """Where this machine has its daemons, as far as tests know: one, with its socket in ``run``."""
    monkeypatch.setattr(danger, "DOCKER_SOCKETS", (f"{tmp_path}/run/docker.sock",))
    monkeypatch.setattr(danger, "PODMAN_SOCKETS", ())
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("CONTAINER_HOST", raising=False)
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/run/docker.sock")
        yield [tmp_path / "run/docker.sock"]


def read(**options):
    return read_options(attrs.evolve(KIND, options=options), ContainerOptions)


def faults(**options):
    with pytest.raises(SettingsError) as caught:
        read(**options)
    return [problem.removeprefix("workers.boxed.options.") for problem in caught.value.problems]


def worker_in(workspace):
    return Worker("w1", KIND, Path(workspace), "now")


def made(tmp_path, user=None, **options):
    """What the daemon is told for a worker in ``tmp_path``."""
    chosen = read(**options)
    user = user or user_of(chosen, "plain")
    return recipe(worker_in(tmp_path), chosen, user, Path("/state/boxes"), {"a": "label"})


# --- options


def test_the_defaults_are_those_of_the_documents():
    assert read() == ContainerOptions(
        image="python:3.13-slim", network="none", memory="2g", cpus=None, pids=512, read_only=False
    )


@pytest.mark.parametrize(
    "options",
    [
        {"image": "registry.example:5000/some/image@sha256:" + "a" * 64},
        {"runtime": "podman"},
        {"pull": "never"},
        {"network": "bridge"},
        {"network": "my.net-1"},
        {"user": "0"},
        {"user": "1000:1000"},
        {"memory": "512k"},
        {"memory": "16g"},
        {"cpus": 2},
        {"cpus": 0.5},
        {"pids": 16},
        {"read_only": True},
        {"tmpfs": ["/data", "/var/tmp"]},
        {"mounts": [{"source": "/usr/share", "target": "/data"}]},
        {"mounts": [{"source": "~/data", "target": "/data", "writable": True}]},
        {"mounts": [{"source": "/usr/share", "target": "/workspace/docs"}]},
    ],
    ids=str,
)
def test_what_may_be_set(options):
    chosen = read(**options)
    for name, value in options.items():
        kept = getattr(chosen, name)
        assert kept == value or name in ("tmpfs", "mounts")


@pytest.mark.parametrize(
    ("options", "key", "text"),
    [
        ({"image": ""}, "image", "must be the name of an image"),
        ({"image": "-v"}, "image", "must be the name of an image"),
        ({"image": "a b"}, "image", "must be the name of an image"),
        ({"image": 3}, "image", "text"),
        ({"runtime": "lxc"}, "runtime", "docker"),
        ({"pull": "always"}, "pull", "missing"),
        ({"network": ""}, "network", "must be none, bridge"),
        ({"network": "ns:/proc/1/ns/net"}, "network", "must be none, bridge"),
        ({"network": "container:other"}, "network", "must be none, bridge"),
        ({"user": "root"}, "user", "must be numbers"),
        ({"user": "-1"}, "user", "must be numbers"),
        ({"user": "1:2:3"}, "user", "must be numbers"),
        ({"memory": "2"}, "memory", "must be a size"),
        ({"memory": "0g"}, "memory", "must be a size"),
        ({"memory": "-1"}, "memory", "must be a size"),
        ({"cpus": 0}, "cpus", "must be from 0.01"),
        ({"cpus": "2"}, "cpus", "number"),
        ({"pids": 15}, "pids", "must be from 16"),
        ({"pids": -1}, "pids", "must be from 16"),
        ({"pids": True}, "pids", "number"),
        ({"read_only": "yes"}, "read_only", "true or false"),
        ({"tmpfs": ["data"]}, "tmpfs.0", "must be a path from the container's root"),
        ({"tmpfs": ["/a:b"]}, "tmpfs.0", "must be a path from the container's root"),
        ({"tmpfs": "/data"}, "tmpfs", "list"),
        ({"mounts": [{"source": "data", "target": "/a"}]}, "mounts.0.source", "must be a path from the root"),
        ({"mounts": [{"source": "/usr"}]}, "mounts.0.target", "is missing"),
        ({"mounts": [{"source": "/usr", "target": "a"}]}, "mounts.0.target", "must be a path"),
        ({"mounts": [{"source": "/usr", "target": "/a", "mode": "rw"}]}, "mounts.0.mode", ""),
        ({"allow_unsafe": ["everything"]}, "allow_unsafe.0", "privileged"),
        ({"imag": "a"}, "imag", "did you mean 'image'"),
        ({"pid": "host"}, "pid", "did you mean 'pids'"),
        ({"cap_add": ["SYS_ADMIN"]}, "cap_add", ""),
    ],
    ids=str,
)
def test_what_may_not_be_set_is_said_with_its_place(options, key, text):
    (fault,) = faults(**options)
    assert fault.startswith(f"{key}: "), fault
    assert text in fault


def test_all_faults_are_said_at_once():
    assert len(faults(image="", pids=1, memory="much", tmpfs=["x"], nobody="knows")) == 5
    assert len(faults(privileged=True, network="host", mounts=[{"source": "/", "target": "/host"}])) == 3


@pytest.mark.parametrize(
    "target",
    [
        "/workspace",
        "/workspace/",
        "//workspace",
        "/x/../workspace",
        "/tmp/home",
        "/run/mahavishnu/.",
        "//",
        "/.",
    ],
)
def test_what_is_ours_in_a_container_stays_ours(target):
    assert faults(mounts=[{"source": "/usr", "target": target}]) == [f"mounts.0.target: {target!r} is taken"]
    assert faults(tmpfs=[target]) == [f"tmpfs.0: {target!r} is taken"]


def test_a_target_is_taken_once():
    mounts = [{"source": "/usr", "target": "/a"}, {"source": "/bin", "target": "/b/../a/"}]
    assert len(faults(mounts=mounts, tmpfs=["//a"])) == 3


# --- what is not safe


UNSAFE = {
    "privileged": ({"privileged": True}, "privileged"),
    "host_network": ({"network": "host"}, "network"),
    "root_mount": ({"mounts": [{"source": "/", "target": "/host"}]}, "mounts.0.source"),
    "docker_socket": ({"mounts": [{"source": "{tmp}/run", "target": "/sockets"}]}, "mounts.0.source"),
}
WORDS = ["privileged", "docker_socket", "host_network", "root_mount", "state_dir"]


@pytest.mark.parametrize("word", UNSAFE)
def test_what_is_not_safe_takes_exactly_its_own_word(word, tmp_path):
    options, key = UNSAFE[word]
    options = json.loads(json.dumps(options).replace("{tmp}", str(tmp_path)))
    refused = [f"{key}: is not safe: it needs '{word}' in allow_unsafe"]
    assert faults(**options) == refused
    assert faults(**options, allow_unsafe=[other for other in WORDS if other != word]) == refused
    assert read(**options, allow_unsafe=[word])


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(
    "source",
    ["run", "run/docker.sock", "run/../run/docker.sock", "link", "link/docker.sock", "to-socket", "."],
)
def test_the_socket_of_a_daemon_is_found_behind_any_path(source, writable, tmp_path):
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "to-socket").symlink_to("link/docker.sock")
    (fault,) = faults(mounts=[{"source": f"{tmp_path}/{source}", "target": "/a", "writable": writable}])
    assert "'docker_socket'" in fault


@pytest.mark.parametrize("source", ["/", "//", "/usr/..", "link", "link/../.."])
def test_the_root_is_found_behind_any_path(source, tmp_path):
    (tmp_path / "link").symlink_to("/")
    source = source if source.startswith("/") else f"{tmp_path}/{source}"
    (fault,) = faults(mounts=[{"source": source, "target": "/a"}])
    assert "'root_mount'" in fault


def test_a_socket_that_a_variable_names_is_known(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/engine.sock").touch()
    mounts = [{"source": f"{tmp_path}/other", "target": "/a"}]
    assert read(mounts=mounts)
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/other/engine.sock")
    assert "'docker_socket'" in faults(mounts=mounts)[0]


def test_where_nobody_may_look_there_may_be_a_socket(tmp_path, monkeypatch):
    monkeypatch.setattr(danger, "DOCKER_SOCKETS", (f"{tmp_path}/closed/docker.sock",))
    monkeypatch.setattr(Path, "stat", _refuse)
    assert danger.sockets() == [tmp_path / "closed/docker.sock"]


def _refuse(path):
    raise PermissionError(13, "Permission denied", str(path))


def test_root_in_a_privileged_container_would_end_it():
    (fault,) = faults(privileged=True, user="0:5", allow_unsafe=["privileged"])
    assert fault.startswith("user: must not be 0 where privileged is true")


@pytest.mark.parametrize("place", ["workspace", "mount"])
@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("state", "state_dir"),
        ("state/workers", "state_dir"),
        ("link-to-state", "state_dir"),
        ("above", "state_dir"),
        ("run", "docker_socket"),
        ("/", "root_mount"),
    ],
)
def test_a_worker_does_not_see_what_lets_it_out(place, path, word, tmp_path):
    state = tmp_path / "above/state"
    (state / "workers").mkdir(parents=True)
    (tmp_path / "state").symlink_to("above/state")
    (tmp_path / "link-to-state").symlink_to("state")
    seen = path if path == "/" else f"{tmp_path}/{path}"
    allowed = [] if word == "state_dir" else [word]  # of a mount, the options themselves say the others

    def require(allow_unsafe):
        mounts = [{"source": seen, "target": "/a"}] if place == "mount" else []
        options = read(mounts=mounts, allow_unsafe=allow_unsafe)
        workspace = "/usr" if place == "mount" else seen
        require_safe(worker_in(workspace), options, state)

    require([word])
    if place == "workspace" or word == "state_dir":
        with pytest.raises(
            UsageError, match=rf"is not safe: .* or '{word}' in allow_unsafe of worker type 'boxed'"
        ):
            require([each for each in WORDS if each != word])
    assert allowed in ([], [word])


def test_a_workspace_beside_all_that_is_safe(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "work").mkdir()
    require_safe(worker_in(tmp_path / "work"), read(), tmp_path / "state")


# --- types


def test_the_types_of_settings_are_checked_when_the_list_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config/mahavishnu").mkdir(parents=True)
    entry = {"name": "boxed", "agent": "shell", "place": "container", "options": {"imag": "x", "pids": 1}}
    (tmp_path / "config/mahavishnu/ecosystem.yaml").write_text(json.dumps({"workers": [entry]}))
    with pytest.raises(SettingsError) as caught:
        app_of(tmp_path, container=hooks).catalog  # noqa: B018
    assert len(caught.value.problems) == 2


def test_the_type_that_comes_along_runs_command_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = app_of(tmp_path, container=hooks).catalog
    kind = catalog.get("container")
    assert (kind.name, kind.agent, kind.place) == ("container-executor", "shell", "container")
    assert kind.options == {}


def test_other_places_are_none_of_its_business():
    worker = Worker("w1", WorkerType("shell", "shell"), Path("/"), "now")
    assert hooks.place_options("local") is None
    assert hooks.spawn(None, worker) is None
    assert hooks.launch(None, worker, None, None, 1, False) is None
    assert hooks.close(None, worker) is None
    assert hooks.diagnose(None, [worker.type]) is None


def test_the_hooks_load_nothing_heavy():
    code = "import sys, mahavishnu_container.hooks; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())
    assert not [name for name in done.stdout.split() if name.startswith("mahavishnu_container.")][1:]


def test_a_shim_loads_little_before_its_command_is_started():
    home = str(Path(hooks.__file__).parents[1])
    code = (
        f"import sys; sys.path.append({home!r}); import mahavishnu_container.shim.main; print(*sys.modules)"
    )
    bare = [sys.executable, "-I", "-S", "-c"]
    before, after = (
        set(subprocess.run([*bare, each], capture_output=True, text=True, check=True).stdout.split())
        for each in ("import sys; print(*sys.modules)", code)
    )
    shim = "mahavishnu_container.shim"
    own = {"mahavishnu_container", shim, *(f"{shim}.{name}" for name in ("main", "box", "start"))}
    assert own <= after - before
    assert HEAVY_FOR_A_SHIM.isdisjoint(after - before)


# --- what the daemon is told


def test_f4_a_container_can_do_no_more_than_it_must(tmp_path):
    told = made(tmp_path, User(1000, 1000, True))
    assert told == {
        "image": "python:3.13-slim",
        "entrypoint": ["sleep", "2147483647"],
        "command": [],
        "name": "mahavishnu-w1",
        "labels": {"a": "label"},
        "init": True,
        "user": "65534:65534",
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "privileged": False,
        "read_only": False,
        "mem_limit": "2g",
        "memswap_limit": "2g",
        "nano_cpus": None,
        "pids_limit": 512,
        "tmpfs": {},
        "mounts": [
            {"Target": "/workspace", "Source": str(tmp_path), "Type": "bind", "ReadOnly": False},
            {"Target": "/run/mahavishnu", "Source": "/state/boxes", "Type": "bind", "ReadOnly": False},
        ],
        "working_dir": "/workspace",
    }


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"image": "a:b"}, {"image": "a:b"}),
        ({"network": "models"}, {"network_mode": "models"}),
        ({"memory": "64m"}, {"mem_limit": "64m", "memswap_limit": "64m"}),
        ({"cpus": 1.5}, {"nano_cpus": 1_500_000_000}),
        ({"pids": 64}, {"pids_limit": 64}),
        ({"pull": "never"}, {}),
        (
            {"read_only": True},
            {"read_only": True, "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777,uid=7,gid=8"}},
        ),
        ({"tmpfs": ["/data"]}, {"tmpfs": {"/data": "rw,exec,nosuid,nodev,mode=1777,uid=7,gid=8"}}),
        ({"tmpfs": ["/data"], "runtime": "podman"}, {"tmpfs": {"/data": "rw,exec,nosuid,nodev,mode=1777"}}),
        (
            {"privileged": True, "allow_unsafe": ["privileged"]},
            {"privileged": True, "cap_drop": [], "security_opt": []},
        ),
        ({"network": "host", "allow_unsafe": ["host_network"]}, {"network_mode": "host"}),
        ({"allow_unsafe": WORDS}, {}),
    ],
    ids=str,
)
def test_an_option_changes_its_own_thing_and_nothing_else(options, changes, tmp_path):
    user = User(7, 8, True)
    assert made(tmp_path, user, **options) == {**made(tmp_path, user), **changes}


def test_a_tmpfs_is_named_once_however_it_is_written(tmp_path):
    assert list(made(tmp_path, read_only=True, tmpfs=["/tmp/"])["tmpfs"]) == ["/tmp"]


def test_mounts_are_read_only_unless_they_say_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    mounts = [
        {"source": "/usr/share", "target": "/a"},
        {"source": "~/data", "target": "/b", "writable": True},
    ]
    told = made(tmp_path, mounts=mounts)["mounts"][2:]
    assert told == [
        {"Target": "/a", "Source": "/usr/share", "Type": "bind", "ReadOnly": True},
        {"Target": "/b", "Source": f"{tmp_path}/data", "Type": "bind", "ReadOnly": False},
    ]


def test_no_variable_is_told_to_the_daemon_with_the_container(tmp_path):
    assert "environment" not in made(tmp_path)


# --- users


@pytest.mark.parametrize(
    ("user", "kind", "expected"),
    [
        (None, "plain", "OURS True"),
        (None, "remapped", "OURS False"),
        (None, "rootless", "0:0 True"),
        ("5", "plain", "5:5 False"),
        ("5:6", "rootless", "5:6 False"),
        ("0", "rootless", "0:0 True"),
    ],
)
def test_whose_files_a_commands_files_are(user, kind, expected):
    chosen = user_of(ContainerOptions(user=user), kind)
    ours = f"{os.geteuid()}:{os.getegid()}"
    assert f"{chosen} {chosen.is_us}" == expected.replace("OURS", ours)


def test_a_user_that_is_us_by_number_owns_our_files():
    ours = f"{os.geteuid()}:{os.getegid()}"
    assert user_of(ContainerOptions(user=ours), "plain").is_us
    assert not user_of(ContainerOptions(user=ours), "remapped").is_us


def test_what_keeps_a_container_up_is_never_the_commands_user():
    assert User(1000, 1000, True).resident == "65534:65534"
    assert User(65534, 65534, False).resident == "65533:65533"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (["name=seccomp,profile=default"], "plain"),
        (["name=seccomp,profile=default", "name=rootless", "name=cgroupns"], "rootless"),
        (["name=userns"], "remapped"),
        ([], "plain"),
    ],
)
def test_a_daemon_says_what_its_users_are(said, kind):
    assert kind_of(said) == kind


# --- finding a daemon


def test_a_daemon_is_found_by_its_variable_or_its_usual_socket(tmp_path):
    assert find_socket("docker", {"DOCKER_HOST": "unix:///some/where.sock"}) == "/some/where.sock"
    assert find_socket("podman", {"CONTAINER_HOST": "unix:///some/where.sock"}) == "/some/where.sock"
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman/podman.sock").touch()
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_HOST": "unix:///not/that/one.sock"}
    assert find_socket("podman", runtime) == f"{tmp_path}/podman/podman.sock"


@pytest.mark.parametrize("name", ["docker", "podman"])
@pytest.mark.parametrize(
    "url", ["tcp://10.0.0.1:2375", "ssh://me@there", "npipe:////./pipe/x", "/run/x.sock"]
)
def test_a_daemon_elsewhere_is_refused(name, url):
    variable = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}[name]
    with pytest.raises(UsageError, match=f"{variable}={url}: containers need a daemon on this machine"):
        find_socket(name, {variable: url})


def test_where_it_was_looked_for_is_said_when_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("os.path.exists", lambda _: False)
    with pytest.raises(MissingError) as caught:
        find_socket("podman", {"XDG_RUNTIME_DIR": str(tmp_path)})
    text = str(caught.value)
    assert text.startswith(
        "Podman does not run here: install and start it, or name its socket in CONTAINER_HOST"
    )
    assert f"{tmp_path}/podman/podman.sock" in text


# --- what a daemon says


RECORDED = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aa"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "bb"},
    {"status": "Downloading", "progressDetail": {"current": 1 << 20, "total": 4 << 20}, "id": "aa"},
    {"status": "Download complete", "progressDetail": {}, "id": "aa"},
    {"status": "Extracting", "progressDetail": {"current": 1, "total": 4 << 20}, "id": "aa"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aa"},
    {"status": "Already exists", "progressDetail": {}, "id": "bb"},
    {"status": "Digest: sha256:00"},
    {"status": "Status: Downloaded newer image for x:latest"},
]


def test_a_pull_says_how_far_it_is():
    assert list(progress_of(RECORDED)) == [
        "0 of 1 layers, 0 of 0 MiB",
        "0 of 2 layers, 0 of 0 MiB",
        "0 of 2 layers, 1 of 4 MiB",
        "0 of 2 layers, 4 of 4 MiB",
        "0 of 2 layers, 4 of 4 MiB",
        "1 of 2 layers, 4 of 4 MiB",
        "2 of 2 layers, 4 of 4 MiB",
    ]


def test_a_pull_that_fails_says_why_once_all_is_read():
    is_read = []

    def messages():
        yield from RECORDED[:2]
        yield {"errorDetail": {"message": "x"}, "error": "toomanyrequests: wait"}
        is_read.append(True)

    told = progress_of(messages())
    assert next(told)
    with pytest.raises(MahavishnuError, match="toomanyrequests: wait"):
        next(told)
    assert is_read


def of_the_first_call(cause):
    """What the SDK makes of an error of the call by which it asks for the version."""
    return caused(DockerException(f"Error while fetching server API version: {cause}"), cause)


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            requests.exceptions.ReadTimeout("x"),
            MahavishnuError,
            f"Docker has not answered for {PATIENCE} s at /s",
        ),
        (urllib3.exceptions.ReadTimeoutError(None, "", "x"), MahavishnuError, "Docker has not answered for"),
        (requests.exceptions.ConnectionError("x"), MissingError, "Docker does not answer at /s: start it"),
        (urllib3.exceptions.ProtocolError("x"), MissingError, "Docker does not answer at /s: start it"),
        (IncompleteRead(b""), MissingError, "Docker does not answer at /s: start it"),
        (ConnectionResetError("x"), MissingError, "Docker does not answer at /s: start it"),
        (DockerException("x"), MissingError, "Docker does not answer at /s: start it"),
        (of_the_first_call(requests.exceptions.ReadTimeout("x")), MahavishnuError, "Docker has not answered"),
        (of_the_first_call(APIError("x", explanation="denied")), MahavishnuError, "Docker says: denied"),
        (of_the_first_call(KeyError("x")), MissingError, "Docker does not answer at /s: start it"),
        (APIError("x", explanation="no such thing"), MahavishnuError, "Docker says: no such thing"),
        (APIError("what it was"), MahavishnuError, "Docker says: what it was"),
        (
            caused(APIError("x", explanation="no such image"), requests.exceptions.HTTPError("404")),
            MahavishnuError,
            "Docker says: no such image",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_said_in_words(error, kind, text):
    said = explained("docker", "/s", error)
    assert type(said) is kind
    assert str(said).startswith(text)


def test_a_fault_of_our_own_is_not_dressed_up():
    with pytest.raises(KeyError):
        explained("docker", "/s", KeyError("x"))
