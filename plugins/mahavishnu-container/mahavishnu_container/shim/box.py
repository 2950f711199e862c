"""The directory that a command in a container and its shim both see, one for each task.

The container sees nothing else of the state directory. Output lands in the task's own files all the same: the
names in here are links to them, so that what a command does to the names changes nothing over there.
"""

from __future__ import annotations

import os
import stat

WORKSPACE = "/workspace"
"""Where a container has its worker's workspace."""
BOXES = "/run/mahavishnu"
"""Where it has the directory of its worker's boxes."""
CONTROL, REPORT, REPLY = "control", "report", "reply"
PROGRESS = "progress.sock"
_LINKS = (("stdout.jsonl", "stdout"), ("stderr.log", "stderr"), ("stdin", "stdin"))


class Pipes:
    """Descriptors: ``control`` to be written, ``reply`` and ``report`` to be read, without waiting."""

    def __init__(self, control: int, reply: int, report: int) -> None:
        self.control = control
        self.reply = reply
        self.report = report


class Box:
    """Made under a name that nobody can foresee; it becomes the working directory of this program.

    Relative names, because the path of a socket may have 107 bytes and that of a state directory more.
    """

    def __init__(self, boxes: str, task_directory: str, *, is_shared: bool) -> None:
        """``is_shared``: the command's user is not the one that this program runs as."""
        self.name = os.urandom(6).hex()
        self._boxes = boxes
        self._task_directory = task_directory
        self._mode = 0o666 if is_shared else 0o600
        os.umask(0)  # modes are what they are said to be
        os.mkdir(f"{boxes}/{self.name}", 0o777 if is_shared else 0o700)
        directory = os.open(f"{boxes}/{self.name}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        os.fchdir(directory)  # never to where a link leads that is in its place by now
        os.close(directory)
        for kept, name in _LINKS:
            self._link(f"{task_directory}/{kept}", name)
        for name in (CONTROL, REPORT, REPLY):
            os.mkfifo(name, self._mode)

    def open(self) -> Pipes:
        """This side's ends of the pipes. The command's side waits for them before it begins."""
        # each side's open waits for the other's: one that can write, too, waits for nobody
        control = self._open(CONTROL, os.O_RDWR)
        return Pipes(control, self._open(REPLY, os.O_RDONLY), self._open(REPORT, os.O_RDONLY))

    @property
    def inside(self) -> str:
        """Its path in the container."""
        return f"{BOXES}/{self.name}"

    def open_to_command(self, name: str) -> None:
        """Let the command's user at a file of this program's."""
        os.chmod(name, self._mode)

    def close(self) -> None:
        """Remove it, as far as what the command left in it can be removed."""
        for name in (CONTROL, REPORT, REPLY, PROGRESS, *(name for _, name in _LINKS)):
            _unlink(name)
        os.chdir("/")
        for kept, _ in _LINKS:
            _make_ours(f"{self._task_directory}/{kept}")
        try:
            os.rmdir(f"{self._boxes}/{self.name}")
        except OSError:  # the command left something of its own
            from mahavishnu_container.shim.tree import remove_tree  # takes its time to load

            remove_tree(f"{self._boxes}/{self.name}")

    def _link(self, path: str, name: str) -> None:
        try:
            os.link(path, name)
        except FileNotFoundError:  # no input: an empty one
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode))
        os.chmod(name, self._mode)

    def _open(self, name: str, flags: int) -> int:
        descriptor = os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError(f"{name} was put in the place of a pipe")
        return descriptor


def _unlink(name: str) -> None:
    try:
        os.unlink(name)
    except OSError:  # never made, or made into something else by the command
        return


def _make_ours(path: str) -> None:
    """Make a file of the task's ours alone: the command may have kept a link to it, for the next one."""
    try:
        os.chmod(path, 0o600)
        if os.stat(path).st_nlink == 1:
            return
    except FileNotFoundError:  # it had no input
        return
    from shutil import copyfile  # takes its time to load

    copyfile(path, f"{path}.new")
    os.chmod(f"{path}.new", 0o600)
    os.rename(f"{path}.new", path)
