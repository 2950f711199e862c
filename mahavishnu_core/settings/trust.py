"""Which project files the user has read and trusts: by path and by what was in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings.files import read_file, user_config_dir, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHIPPED = Path(__file__).parent.parent / "shipped"
"""The shipped settings: ``settings/`` of the repository, which a wheel carries in this place."""


def trust(files: Iterable[Path], *, environ: Mapping[str, str]) -> None:
    """Obey these files from now on, as long as they stay as they are now. Raises SettingsError."""
    known = dict(trusted_files(environ))
    for path in files:
        content = read_file(path)
        if content is None:
            raise SettingsError([f"{path}: there is no such file"])
        known[_key(path)] = _digest(content)
    import json

    write_file(_list_path(environ), json.dumps(known, indent=2, sort_keys=True) + "\n")


def trusted_files(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Path and hash of every file that was trusted. Raises SettingsError where the list is spoilt."""
    import json

    path = _list_path(environ)
    content = read_file(path)
    if content is None:
        return {}
    try:
        known = json.loads(content)
    except (ValueError, RecursionError):
        known = None
    if not isinstance(known, dict) or not all(isinstance(digest, str) for digest in known.values()):
        raise SettingsError([f"{path}: is not the list that 'mahavishnu config trust' wrote: delete it"])
    return known


def is_trusted(path: Path, content: bytes, environ: Mapping[str, str]) -> bool:
    """Whether a project's file may be obeyed in full: the user trusts it, or it is as it was shipped."""
    if content == read_file(SHIPPED / path.name, may_be_shared=True):
        return True
    return trusted_files(environ).get(_key(path)) == _digest(content)


def _list_path(environ: Mapping[str, str]) -> Path:
    return user_config_dir(environ) / "trusted.json"


def _key(path: Path) -> str:
    return str(path.absolute())


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
