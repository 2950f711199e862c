"""What the real CLIs need in their environment to talk to the scripted model and to nobody else."""

from __future__ import annotations

import json
from pathlib import Path

_CODEX_CONFIG = """\
model = "scripted-codex"
model_provider = "scripted"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.scripted]
name = "scripted"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
request_max_retries = 1
stream_max_retries = 1
"""
_GEMINI_SETTINGS = {
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 2},
    "privacy": {"usageStatisticsEnabled": False},
    # else GOOGLE_GEMINI_BASE_URL alone makes gemini 0.61.0 choose a kind of account that it then refuses
    "security": {"auth": {"selectedType": "gemini-api-key"}},
}
_QWEN_SETTINGS = {"privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False}}


def claude_env(url: str, home: Path) -> dict[str, str]:
    """Variables for a ``claude`` with this HOME and the script at this URL."""
    return {
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "not-a-key",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    }


def qwen_env(url: str, home: Path) -> dict[str, str]:
    """Variables for a ``qwen``; writes the settings that have no variable into a HOME that has none."""
    settings = home / ".qwen" / "settings.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    if not settings.exists():
        settings.write_text(json.dumps(_QWEN_SETTINGS))
    return {
        "HOME": str(home),
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "not-a-key",
        "OPENAI_MODEL": "scripted-qwen",
    }


def codex_env(url: str, home: Path) -> dict[str, str]:
    """Variables for a ``codex``; writes the settings into its HOME that have no variable."""
    settings = home / ".codex" / "config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(_CODEX_CONFIG.format(url=url))
    return {"HOME": str(home), "CODEX_HOME": str(settings.parent), "OPENAI_API_KEY": "not-a-key"}


def gemini_env(url: str, home: Path) -> dict[str, str]:
    """Variables for a ``gemini``; writes the settings into its HOME that have no variable.

    With a model named, gemini 0.61.0 does not ask another one first which to take.
    """
    settings = home / ".gemini" / "settings.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(_GEMINI_SETTINGS))
    return {
        "HOME": str(home),
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": "not-a-key",
        "GEMINI_MODEL": "gemini-2.5-flash",
    }


def opencode_env(url: str, home: Path) -> dict[str, str]:
    """Variables for an ``opencode``, which tell it to fetch nothing."""
    model = {"cost": {"input": 3, "output": 15}, "reasoning": True}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": "not-a-key"},
        "models": {"scripted-opencode": model},
    }
    config = {
        "model": "scripted/scripted-opencode",
        "provider": {"scripted": provider},
        "autoupdate": False,
        "share": "disabled",
    }
    return {
        "HOME": str(home),
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "npm_config_offline": "true",
    }
