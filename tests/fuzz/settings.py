"""The target ``settings``: any bytes as a settings file.

The first byte of an input says which file it is, and whose; the rest is its content.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings import Loaded, Settings, load_settings
from mahavishnu_core.text import printable

PLACES = tuple(
    f"{directory}/{name}"
    for directory in ("config/mahavishnu", "project/.mahavishnu", "given")
    for name in ("mahavishnu.yaml", "mahavishnu.toml", "ecosystem.yaml")
)
"""Of the user, of a project that nobody trusts, named with ``--config``."""
_MOST_SECONDS = 2.0
"""Of processor time, with the fuzzer looking on; without it a file takes a tenth of that."""


def head(place: str) -> bytes:
    """The first byte of an input."""
    return bytes([PLACES.index(place)])


def fuzz(data: bytes) -> None:
    """They are read, or refused with lines that say what is wrong; soon, and by nothing else."""
    place, content = PLACES[data[0] % len(PLACES)] if data else PLACES[0], data[1:]
    path = _root() / place
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    began = time.process_time()
    try:
        _require_sound(_load(path), is_project=place.startswith("project"))
    except SettingsError as error:
        _require_told(error)
    finally:
        shutil.rmtree(path.parent)
    assert time.process_time() - began < _MOST_SECONDS, "it takes too long"


def _load(path: Path) -> Loaded:
    return _settings(path.parent if path.parent.name == "given" else None)


def _settings(given: Path | None) -> Loaded:
    environ = {"HOME": str(_root()), "XDG_CONFIG_HOME": str(_root() / "config")}
    return load_settings(cwd=_root() / "project", config_dir=given, environ=environ)


def _require_told(error: SettingsError) -> None:
    assert error.problems, "it is refused, and nobody is told why"
    for problem in error.problems:
        assert problem == printable(problem), "a terminal would obey what it is told"
        assert "\n" not in problem, "a fault is one line"


def _require_sound(loaded: Loaded, *, is_project: bool) -> None:
    assert all(warning == printable(warning) for warning in loaded.warnings), (
        "a terminal would obey a warning"
    )
    assert 1 <= loaded.settings.max_concurrent_workers <= 100
    assert 30 <= loaded.settings.worker_timeout_seconds <= 3600
    if is_project:
        usual = _usual()
        assert loaded.settings.workers == usual.workers, "an untrusted project decides what is run"
        assert loaded.settings.worker_default_type == usual.worker_default_type, "or what is asked"


@cache
def _usual() -> Settings:
    """What holds where there are no files."""
    return load_settings(cwd=Path("/"), environ={"HOME": "/nowhere"}).settings


@cache
def _root() -> Path:
    """A home and a project, the same for all inputs."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, root)
    (root / "project").mkdir()
    return root
