"""One setting changed in the user's own file, with its comments and order kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.settings.document import Document, parse, refuse
from mahavishnu_core.settings.files import read_file, user_config_dir, write_file
from mahavishnu_core.settings.schema import CONCURRENT_WORKERS, ECOSYSTEM_FIELDS, MAIN_FIELDS
from mahavishnu_core.settings.suggest import did_you_mean
from mahavishnu_core.settings.variables import fault_in_text, parse_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mahavishnu_core.models import JSON


def set_value(key: str, text: str, *, environ: Mapping[str, str]) -> Path:
    """Set a field in the user's ``mahavishnu.toml`` to what the text says, and return the file.

    The file is written only if all of it is right then. Raises SettingsError.
    """
    from mahavishnu_core.settings.structure import structure

    value = _checked(key, text)
    directory = user_config_dir(environ)
    by_hand, path = directory / "mahavishnu.yaml", directory / "mahavishnu.toml"
    if read_file(by_hand) is not None:
        raise SettingsError([f"{by_hand}: is YAML, which 'set' does not write: change {key!r} there by hand"])
    changed = _with_value(path, read_file(path) or b"", key, value)
    try:
        content = changed.encode()
    except UnicodeEncodeError:
        raise SettingsError([f"{key}: holds half a character (a lone surrogate): mend the text"]) from None
    _, problems = structure(parse(path, content), MAIN_FIELDS)
    if problems:
        raise refuse(path, problems)
    write_file(path, changed)
    return path


def _checked(key: str, text: str) -> JSON:
    """The text as a value of that field. Raises SettingsError."""
    from mahavishnu_core.settings.structure import structure

    if key.split(".")[0] in ECOSYSTEM_FIELDS:
        raise SettingsError([f"{key}: is not set from here: write it into your ecosystem.yaml"])
    if key not in MAIN_FIELDS:
        raise SettingsError([f"{key}: is not a setting{did_you_mean(key, MAIN_FIELDS)}"])
    value = parse_text(key, text)
    settings, problems = structure(Document({key: value}), MAIN_FIELDS)
    if problems:
        raise SettingsError([f"{key}: {fault_in_text(problem)}" for problem in problems])
    if settings.max_concurrent_workers not in CONCURRENT_WORKERS:
        raise SettingsError([f"{key}: must be {CONCURRENT_WORKERS}"])
    return value


def _with_value(path: Path, content: bytes, key: str, value: JSON) -> str:
    import tomlkit

    before = parse(path, content)
    if before.problems:
        raise refuse(path, list(before.problems))
    document = tomlkit.parse(content)
    try:
        document[key] = value
    except tomlkit.exceptions.ConvertError:
        raise SettingsError([f"{key}: holds null, which TOML does not have: leave that key out"]) from None
    return tomlkit.dumps(document)
