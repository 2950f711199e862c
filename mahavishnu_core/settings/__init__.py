"""The settings: found, read, checked, laid over each other, and changed. Light to import."""

from __future__ import annotations

from mahavishnu_core.settings.edit import set_value
from mahavishnu_core.settings.files import user_config_dir
from mahavishnu_core.settings.layers import SettingsDir, settings_dirs
from mahavishnu_core.settings.load import Loaded, load_settings
from mahavishnu_core.settings.options import Options, read_options
from mahavishnu_core.settings.schema import (
    CONCURRENT_WORKERS,
    MAIN_FIELDS,
    TIMEOUT_SECONDS,
    Name,
    Range,
    Role,
    Rule,
    Seconds,
    Settings,
    Template,
    Variable,
    Variables,
    WorkerOverride,
)
from mahavishnu_core.settings.suggest import did_you_mean
from mahavishnu_core.settings.trust import trust
from mahavishnu_core.settings.variables import variable_of

__all__ = [
    "CONCURRENT_WORKERS",
    "MAIN_FIELDS",
    "TIMEOUT_SECONDS",
    "Loaded",
    "Name",
    "Options",
    "Range",
    "Role",
    "Rule",
    "Seconds",
    "Settings",
    "SettingsDir",
    "Template",
    "Variable",
    "Variables",
    "WorkerOverride",
    "did_you_mean",
    "load_settings",
    "read_options",
    "set_value",
    "settings_dirs",
    "trust",
    "user_config_dir",
    "variable_of",
]
