"""What the real CLIs need in their environment to talk to the scripted model and to nobody else."""

from __future__ import annotations

import json
from pathlib import Path

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
    """Variables for a ``qwen``; writes the settings into its HOME that have no variable."""
    settings = home / ".qwen" / "settings.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(_QWEN_SETTINGS))
    return {
        "HOME": str(home),
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "not-a-key",
        "OPENAI_MODEL": "scripted-qwen",
    }
