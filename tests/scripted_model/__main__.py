"""Serves the scripted model by hand: ``python -m tests.scripted_model --port 8080``."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.scripted_model.registry import SCRIPTS
from tests.scripted_model.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(description="a scripted model for the real CLIs")
    parser.add_argument("--port", type=int, default=8080)
    with serve(parser.parse_args().port) as server, suppress(KeyboardInterrupt):
        print("scripts:", *sorted(SCRIPTS))
        print(f"ANTHROPIC_BASE_URL={server.url('hello')} ANTHROPIC_API_KEY=not-a-key")
        print(f"OPENAI_BASE_URL={server.url('hello')}/v1 OPENAI_API_KEY=not-a-key OPENAI_MODEL=scripted")
        print(f"GOOGLE_GEMINI_BASE_URL={server.url('hello')} GEMINI_API_KEY=not-a-key")
        server.stopping.wait()


main()
