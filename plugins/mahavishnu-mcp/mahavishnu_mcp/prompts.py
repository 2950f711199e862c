"""The prompts: ready-made beginnings for what people want workers for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_mcp.shapes import UNTRUSTED

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

INSTRUCTIONS = f"""\
Mahavishnu runs headless AI coding agents (Claude Code, Qwen Code, others) and shell commands as workers, many
at once, with a hard limit on how many run and every result kept.

Use it to work on several things at the same time, to get several independent answers to one question, or to
give a long job away and go on: worker_spawn, then worker_execute for each worker with wait=false,
worker_monitor with interval=20 in a loop until all_ended, then worker_collect_results. For one short task
worker_execute alone is enough. Close workers that you do not need any more.

Workers in one directory see each other's changes: say in the prompt who may write what. An answer with
truncated=true is only a beginning: read its output_uri. {UNTRUSTED}"""


def add_prompts(server: MCPServer) -> None:
    @server.prompt(title="Fan a job out over several workers")
    def fan_out(job: str, count: str = "3", worker_type: str = "") -> str:
        """Give several workers the same job, or parts of it, at once, and bring the results together."""
        kind = f" of type {worker_type}" if worker_type else ""
        return (
            f"Fan this job out over {count} workers{kind}:\n\n{job}\n\n"
            "1. If it falls into independent parts, give each worker one; else give all the whole job, and "
            "compare.\n"
            f"2. worker_spawn with count={count}, then worker_execute with wait=false for each worker. Write "
            "each prompt so that it is understood without this conversation, with the files it may change.\n"
            "3. worker_monitor with interval=20 and the cursor of the last answer, until all_ended.\n"
            "4. worker_collect_results. Read output_uri where truncated is true. Say which worker failed and "
            "why.\n"
            "5. Put the results together, check them against the files, and close the workers."
        )

    @server.prompt(title="Review what workers did")
    def review_results(worker_ids: str = "") -> str:
        """Look critically at what workers report, and say what holds."""
        whose = f"the workers {worker_ids}" if worker_ids else "all workers"
        return (
            f"Review the results of {whose}: worker_collect_results, and output_uri where truncated is "
            "true.\nFor each say: the status and, where it did not complete, the reason; what it claims; "
            f"what of it you have verified yourself; what is missing or wrong. {UNTRUSTED}"
        )
