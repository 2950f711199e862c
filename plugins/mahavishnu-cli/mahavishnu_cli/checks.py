"""What ``doctor`` looks at: one function a subject, each saying how things are and what to do."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from mahavishnu_cli.probe import DEADLINE, Answer
from mahavishnu_cli.words import SWEEP_ADVICE
from mahavishnu_core.damage import damaged_tasks, damaged_workers
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.health import Check, Grade, containment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from mahavishnu_core.catalog import Entry
    from mahavishnu_core.host import Host
    from mahavishnu_core.models import Swept, WorkerType
    from mahavishnu_core.state import StateDir

_MIB = 1024 * 1024
_OWN = ("shell", "generic")
"""Agents whose programs are anybody's: what those do with ``--version`` nobody knows."""
_CHOOSE = "choose another with 'mahavishnu config set worker_default_type NAME'"
_LOCAL = "local"


def check_python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} at {sys.executable}")


def check_system() -> Check:
    """Whether whole families of processes can be ended and watched here."""
    lacking = [
        name
        for name, is_there in {
            "Linux": sys.platform == "linux",
            "/proc": Path("/proc/self/stat").exists(),
            "pidfd_open (Linux 5.3)": hasattr(os, "pidfd_open"),
        }.items()
        if not is_there
    ]
    if lacking:
        advice = "run it on Linux with /proc, or in a container or virtual machine that has both"
        return Check("containment", "problem", f"missing: {', '.join(lacking)}", advice)
    return Check("containment", "ok", f"descendants of a command are found and ended by {containment()}")


def check_state(state: StateDir) -> Iterator[Check]:
    """The state directory, which is made where there is none, and its keeper."""
    try:
        state.prepare()
    except MahavishnuError as error:
        text, _, advice = str(error).partition(": ")
        yield Check("state directory", "problem", text, advice)
        return
    size = sum(entry.stat().st_size for entry in _files(state.root))
    free = shutil.disk_usage(state.root).free
    detail = f"{state.root}: {size / _MIB:.1f} MiB, {free / _MIB:.0f} MiB free on its disk"
    if free < 100 * _MIB:
        yield Check("state directory", "warning", detail, "make room: outputs and results are written there")
    else:
        yield Check("state directory", "ok", detail)
    is_up = _keeper_runs(state.root)
    detail = "running" if is_up else "not running; it starts when there is something to keep"
    yield Check("keeper", "ok", detail)
    yield from _check_records(state)


def _check_records(state: StateDir) -> Iterator[Check]:
    """Files of workers and tasks that a power cut, a bad disk or a command has damaged."""
    for path in (*damaged_workers(state), *damaged_tasks(state)):
        is_result = path.endswith("result.json")
        what = "its task counts as one without a result" if is_result else "what it is of is left out"
        advice = f"mend it from a backup, or move its directory away: {Path(path).parent}"
        yield Check("records", "warning", f"{path} is damaged: {what}", advice)


def _files(root: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(root)]
    while waiting:
        try:
            for entry in os.scandir(waiting.pop()):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry
        except FileNotFoundError:  # another program is at work there
            continue


def _keeper_runs(root: Path) -> bool:
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            # by way of /proc: its own path may be too long for a socket
            probe.connect(f"/proc/self/fd/{directory}/keeper.sock")
        except OSError:
            return False
        finally:
            os.close(directory)
    return True


def check_plugins(host: Host) -> Iterator[Check]:
    yield Check("plugins", "ok", f"loaded: {', '.join(plugin.name for plugin in host.loaded)}")
    for plugin in host.refused:
        advice = "'mahavishnu plugins list -v' shows the traceback; upgrade it, or uninstall it"
        yield Check("plugins", "warning", str(plugin), advice)


def check_settings(problems: Iterable[str], warnings: Iterable[str]) -> Iterator[Check]:
    for problem in problems:
        yield Check("settings", "problem", problem, "mend the file, then run 'mahavishnu config check'")
    for warning in warnings:
        yield Check("settings", "warning", warning)


def program_of(kind: WorkerType) -> str | None:
    """The file of a local type's program, None where it is not installed."""
    found = shlex.split(kind.command_template)
    return shutil.which(found[0]) if found else None


def check_type(entry: Entry, program: str | None, answer: Answer, *, is_default: bool) -> Check:
    """Whether workers of a type can be spawned.

    ``program`` is the file of a local one, if it was found, ``answer`` what that says of its version.
    """
    kind = entry.type
    subject = f"type {kind.name}" + (" (default)" if is_default else "")
    grade: Grade = "problem" if is_default else "warning"
    other = _CHOOSE if is_default else ""
    if entry.unavailable:
        return Check(subject, grade, f"not available: {entry.unavailable}", other)
    if kind.place != _LOCAL:
        return Check(subject, "ok", f"agent {kind.agent} in {kind.place}")
    if program is None:
        install = f"install it: {kind.install}" if kind.install else "install it, or add it to PATH"
        advice = "; or ".join(filter(None, (install, other)))
        return Check(subject, grade, f"its program is not in PATH: {kind.command_template}", advice)
    if answer.is_late:
        detail = f"{program} does not come to an end of '--version' within {DEADLINE:g} s"
        return Check(subject, "warning", detail, f"see what '{program} --version' waits for")
    return Check(subject, "ok", program + (f", {answer.version}" if answer.version else ""))


def with_diagnoses(
    own: Iterable[tuple[Entry, Check]], found: Sequence[Check], default: str
) -> tuple[list[Check], list[Check]]:
    """The checks of types, those of plugins in place of ours where the place is theirs; and all others."""
    types: list[Check] = []
    taken: set[str] = set()
    for entry, check in own:
        subject = f"type {entry.type.name}"
        is_theirs = entry.type.place != _LOCAL and not entry.unavailable
        said = [each for each in found if each.subject == subject] if is_theirs else []
        taken |= {each.subject for each in said}
        types += [_of_default(each) if entry.type.name == default else each for each in said] or [check]
    return types, [check for check in found if check.subject not in taken]


def _of_default(check: Check) -> Check:
    """The check of the default type: what is a warning for another is a problem for it."""
    marked = attrs.evolve(check, subject=f"{check.subject} (default)")
    if check.grade == "ok":
        return marked
    return attrs.evolve(marked, grade="problem", advice="; or ".join(filter(None, (check.advice, _CHOOSE))))


def probes_version(kind: WorkerType) -> bool:
    """Whether the program of a type is known to say its version when it is asked."""
    return kind.agent not in _OWN


def check_storages(entries: Iterable[Entry], storages: Collection[str]) -> Iterator[Check]:
    """Which storages there are, and which ones types name that are not."""
    if storages:
        yield Check("storages", "ok", ", ".join(storages))
    else:
        detail = "none: results lie in the state directory only, and cannot be searched"
        yield Check("storages", "warning", detail, "pip install ./plugins/mahavishnu-sqlite")
    named: dict[str, list[str]] = {}
    for entry in entries:
        if entry.type.result_storage and entry.type.result_storage not in storages:
            named.setdefault(entry.type.result_storage, []).append(entry.type.name)
    for storage, types in named.items():
        detail = f"{storage!r}, which worker types name ({', '.join(types)}), is not loaded"
        advice = "install its plugin, if you want results there too"
        yield Check("storages", "warning", detail, advice)


def check_searching(failures: Mapping[str, str]) -> Iterator[Check]:
    for storage, error in failures.items():
        advice = "mend it, then run 'mahavishnu results sync'"
        yield Check("storages", "problem", f"{storage} does not work: {error}", advice)


def check_leftovers(swept: Swept) -> Iterator[Check]:
    for leftover in swept.leftovers:
        yield Check("left over", "warning", str(leftover), SWEEP_ADVICE)
    for failure in swept.failures:
        yield Check("left over", "warning", f"not known: {failure}")


def check_any_type(entries: Collection[Check]) -> Iterator[Check]:
    if not any(check.grade == "ok" for check in entries):
        yield Check("worker types", "problem", "none can be used", "install the program of one of them")
