"""The settings: found, read, checked, laid over each other, and changed. Light to import."""

from __future__ import annotations

from mahavishnu_core.settings.edit import set_value
from mahavishnu_core.settings.files import user_config_dir
from mahavishnu_core.settings.layers import SettingsDir, settings_dirs
from mahavishnu_core.settings.load import Loaded, load_settings
from mahavishnu_core.settings.schema import (
    CONCURRENT_WORKERS,
    TIMEOUT_SECONDS,
    Role,
    Settings,
    WorkerOverride,
)
from mahavishnu_core.settings.trust import trust

__all__ = [
    "CONCURRENT_WORKERS",
    "TIMEOUT_SECONDS",
    "Loaded",
    "Role",
    "Settings",
    "SettingsDir",
    "WorkerOverride",
    "load_settings",
    "set_value",
    "settings_dirs",
    "trust",
    "user_config_dir",
]
