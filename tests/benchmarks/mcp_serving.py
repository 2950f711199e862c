"""How fast the MCP server starts and answers, against a bare server of the SDK with one trivial tool.

Method: both over stdio, driven by the same lines of JSON through pipes, in turn. Start: from the start of
the process to the answer to ``initialize``, median of the rounds. Round trip: ``worker_list`` with three
workers against the trivial tool, each server asked in blocks that alternate, median of the calls. The bare
server runs as the SDK runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAHAVISHNU = str(Path(sys.executable).with_name("mahavishnu"))
BARE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare")
@server.tool()
async def trivial() -> str:
    return "ok"
server.run()
"""
COMMANDS = {"bare": [sys.executable, "-c", BARE], "mahavishnu": [MAHAVISHNU, "mcp", "serve"]}
TOOLS = {"bare": "trivial", "mahavishnu": "worker_list"}
BOUND = 1.3
BLOCK = 50
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "0"},
}


class Server:
    """One server under way."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._number = 0
        self._process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, method: str, **params: object) -> dict[str, object]:
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        answer = json.loads(self._process.stdout.readline())
        assert answer["id"] == self._number, answer
        assert not answer["result"].get("isError"), answer
        return answer["result"]

    def greet(self) -> None:
        self.ask("initialize", **HELLO)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, tool: str, **arguments: object) -> dict[str, object]:
        return self.ask("tools/call", name=tool, arguments=arguments)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _send(self, message: dict[str, object]) -> None:
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


@contextmanager
def serving(name: str, environ: dict[str, str]) -> Iterator[Server]:
    server = Server(COMMANDS[name], environ)
    try:
        yield server
    finally:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=500)
    given = parser.parse_args()
    print(f"MCP server: {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as directory:
        environ = os.environ | {"MAHAVISHNU_STATE_DIR": f"{directory}/state"}
        _show("start", _starts(given.rounds, environ))
        _show("round trip", _round_trips(given.calls, environ))


def _starts(rounds: int, environ: dict[str, str]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name in COMMANDS:
            began = time.perf_counter()
            with serving(name, environ) as server:
                server.greet()
                times[name].append(time.perf_counter() - began)
    return {name: found[1:] for name, found in times.items()}


def _round_trips(calls: int, environ: dict[str, str]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with serving("bare", environ) as bare, serving("mahavishnu", environ) as ours:
        servers = {"bare": bare, "mahavishnu": ours}
        for server in servers.values():
            server.greet()
        ours.call("worker_spawn", worker_type="shell", count=3)
        while len(times["bare"]) < calls + BLOCK:
            for name, server in servers.items():
                for _ in range(BLOCK):
                    began = time.perf_counter()
                    server.call(TOOLS[name])
                    times[name].append(time.perf_counter() - began)
    return {name: found[BLOCK:] for name, found in times.items()}


def _show(what: str, times: dict[str, list[float]]) -> None:
    reference = statistics.median(times["bare"])
    for name, found in times.items():
        median = statistics.median(found)
        ratio = f"ratio {median / reference:.2f} (at most {BOUND})"
        print(f"  {what:11} {name:11} {median * 1000:7.2f} ms   {ratio}")


if __name__ == "__main__":
    main()
