"""Runs commands and a plan inside this program: no broker, no database, no service.

In a checkout: pip install . && python examples/02-library/run.py
"""

import asyncio
import sys
import tempfile

from services.executor.library import (
    CommandFailed,
    ConsoleHandler,
    ExecutionConfig,
    ExecutionEngine,
    PlanExecutionResult,
    TimeoutTooLarge,
)


async def main() -> int:
    config = ExecutionConfig.from_env()
    async with ExecutionEngine(config, ConsoleHandler()) as engine:
        # One command: an id at once, the result when it is there.
        run_id = await engine.execute(
            {
                "command": {"type": "shell", "command": "echo hello from $WHO"},
                "env": {"WHO": "a library"},
            }
        )
        result = await engine.wait(run_id)
        print(
            f"-> {result.status} in {result.to_json()['duration']}, log in {await engine.get_log_path(run_id)}\n"
        )

        # A plan: the two greps wait for the list, the report waits for both.
        with tempfile.TemporaryDirectory() as folder:
            plan = {
                "description": "list, search twice, report",
                "strategy": {
                    "type": "dependency_graph",
                    "dependencies": {"1": [0], "2": [0], "3": [1, 2]},
                },
                "commands": [
                    {
                        "command": {"type": "shell", "command": "seq 1 100 > numbers"},
                        "working_dir": folder,
                    },
                    {
                        "command": {
                            "type": "exec",
                            "program": "grep",
                            "args": ["-c", "7", "numbers"],
                        },
                        "working_dir": folder,
                    },
                    {
                        "command": {
                            "type": "exec",
                            "program": "grep",
                            "args": ["-c", "00", "numbers"],
                        },
                        "working_dir": folder,
                    },
                    {
                        "command": {
                            "type": "script",
                            "interpreter": "python",
                            "source": "print(len(open('numbers').read()))",
                        },
                        "working_dir": folder,
                    },
                ],
            }
            outcome = await engine.wait(await engine.execute_plan(plan))
        assert isinstance(outcome, PlanExecutionResult)
        print(
            f"-> {outcome.status}: {[r.stdout.strip() for r in outcome.results]} {outcome.stats.to_json()}\n"
        )

        # What goes wrong has a type.
        try:
            await engine.execute(
                {"command": {"type": "shell", "command": "true"}, "timeout_ms": 10**9}
            )
        except TimeoutTooLarge as error:
            print(f"-> refused: {error.message}")
        failed = await engine.wait(
            await engine.execute({"command": {"type": "shell", "command": "exit 3"}})
        )
        try:
            failed.raise_for_status()
        except CommandFailed as error:
            print(f"-> failed as it should: {error.message}")
        return 0 if outcome.status == "completed" else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
