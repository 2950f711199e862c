"""Images for the tests, made of what is on this machine, and a registry on loopback to pull them from."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .daemon import PATIENCE, find_program, start_program, wait_until_up

if TYPE_CHECKING:
    from .daemon import Daemon
    from .podman import Podman

BASE = "mahavishnu-test/base"
CLAUDE = "mahavishnu-test/claude"
REPORTING = "mahavishnu-test/reporting"
EGRESS = "egress"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_LIBRARY = re.compile(r"(/\S+) \(0x")
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_REGISTRY = """\
version: 0.1
log: {{accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:0"}}
"""


@attrs.frozen
class Tree:
    """A file system that becomes an image. Paths are relative to its root."""

    _tar: tarfile.TarFile

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._add(path, tarfile.DIRTYPE, mode)

    def link(self, path: str, target: str) -> None:
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._add(path, tarfile.REGTYPE, mode, data)

    def copy(self, path: str, source: Path, mode: int = 0o644) -> None:
        """A file from here; the source of a link, if it is one."""
        info = tarfile.TarInfo(path)
        info.mode, info.size = mode, source.stat().st_size
        with source.open("rb") as file:
            self._tar.addfile(info, file)

    def program(self, path: str, source: Path) -> None:
        """A program from here, with the libraries that it is linked to."""
        self.copy(path, source, 0o755)
        for library in _libraries(source):
            if library not in self._tar.getnames():
                self.copy(library, Path("/", library), 0o755)

    def _add(self, path: str, type: bytes, mode: int, data: bytes = b"", target: str = "") -> None:
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname = type, mode, len(data), target
        self._tar.addfile(info, io.BytesIO(data))


def base_image(daemon: Daemon | Podman, name: str = BASE, programs: Mapping[str, str] | None = None) -> str:
    """An image of Busybox, all of its commands, and a user beside root; its name.

    ``programs`` are scripts by their path, which stand where Busybox has others.
    """
    with _new_image(daemon, name) as tree:
        _add_system(tree, without=tuple(programs or ()))
        for path, script in (programs or {}).items():
            tree.file(path, script.encode(), 0o755)
    return name


def egress_image(daemon: Daemon, files: Mapping[str, str]) -> str:
    """An image with a proxy and its files in ``/etc/tinyproxy``; its name is that of the document."""
    with _new_image(daemon, EGRESS, ["tinyproxy", "-d"]) as tree:
        _add_system(tree)
        tree.program("bin/tinyproxy", Path(str(find_program("tinyproxy"))))
        tree.directory("etc/tinyproxy")
        for name, text in files.items():
            tree.file(f"etc/tinyproxy/{name}", text.encode())
    return EGRESS


def reporting_image(daemon: Daemon) -> str:
    """The same with the programs by which a shell reaches a socket; its name."""
    with _new_image(daemon, REPORTING) as tree:
        _add_system(tree, without=("bin/nc",))
        tree.program("bin/nc", Path(str(find_program("nc.openbsd"))))
        tree.program("bin/socat", Path(str(find_program("socat"))))
    return REPORTING


def claude_image(daemon: Daemon, node_modules: Path) -> str:
    """The same with the real claude, as npm has installed it, and the bash that it wants; its name."""
    with _new_image(daemon, CLAUDE) as tree:
        _add_system(tree)
        tree.program("bin/claude", node_modules / "@anthropic-ai/claude-code/bin/claude.exe")
        tree.program("bin/bash", Path(str(find_program("bash"))))
        if _CERTIFICATES.exists():
            tree.copy(str(_CERTIFICATES.relative_to("/")), _CERTIFICATES)
    return CLAUDE


@contextmanager
def run_registry(directory: Path) -> Iterator[str]:
    """A running registry that keeps all it has in a directory; its address, which a daemon trusts."""
    config, log = directory / "registry.yml", directory / "registry.log"
    config.write_text(_REGISTRY.format(root=directory / "images"))
    process = start_program(["docker-registry", "serve", str(config)], directory, log)
    try:
        wait_until_up(process, partial(_is_listening, log), log)
        (address,) = _LISTENING.findall(log.read_text())
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def pushed_image(daemon: Daemon, registry: str, megabytes: int = 8) -> str:
    """An image that only the registry has, so much more than the base image that pulling it takes a while.

    It shares no layer with any other image: one that the daemon has already would not be pulled.
    """
    name = f"{registry}/mahavishnu-test/pushed"
    with _new_image(daemon, name) as tree:
        _add_system(tree)
        tree.file("var/ballast", os.urandom(megabytes << 20))
    for step in daemon.client.images.push(name, stream=True, decode=True):
        assert "error" not in step, step
    daemon.client.images.remove(name)
    return name


@contextmanager
def _new_image(daemon: Daemon | Podman, name: str, command: Sequence[str] = ("sh",)) -> Iterator[Tree]:
    """The file system of an image, which the daemon gets in the end: one layer, and no Dockerfile."""
    path = daemon.root / "image.tar"
    try:
        with tarfile.open(path, "w") as tar:
            yield Tree(tar)
        changes = ["ENV PATH=/bin", f"CMD {json.dumps(command)}"]
        told = daemon.client.api.import_image_from_file(str(path), repository=name, changes=changes)
        assert "error" not in told, told
    finally:
        path.unlink(missing_ok=True)


def _add_system(tree: Tree, without: Collection[str] = ()) -> None:
    """What every image has: a shell, the usual commands, and the files that name the users."""
    busybox = Path(str(find_program("busybox")))
    for path in ("bin", "dev", "etc", "home", "proc", "sys", "usr", "var"):
        tree.directory(path)
    tree.directory("root", 0o700)
    tree.directory("tmp", 0o1777)
    tree.program("bin/busybox", busybox)
    tree.link("usr/bin", "../bin")
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True, timeout=PATIENCE)
    for command in listed.stdout.split():
        if command != "busybox" and f"bin/{command}" not in without:
            tree.link(f"bin/{command}", "busybox")
    for path, text in _FILES.items():
        tree.file(path, text.encode())


def _libraries(program: Path) -> list[str]:
    """What a program is linked to, by paths relative to the root; nothing for a static one."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=PATIENCE)
    return [path.lstrip("/") for path in _LIBRARY.findall(told.stdout)]


def _is_listening(log: Path) -> bool:
    return _LISTENING.search(log.read_text()) is not None
