"""DBOS on PostgreSQL: a workflow of one step, or of five that start a process each; load and work in one process."""

import asyncio
import os

from dbos import DBOS, DBOSConfig, SetWorkflowID
from signals import tell

config: DBOSConfig = {
    "name": "bench",
    "system_database_url": os.environ["POSTGRES_URL"],
    "log_level": "WARNING",
    "run_admin_server": False,
}
DBOS(config=config)


@DBOS.step()
async def nothing() -> int:
    return 0


@DBOS.step()
async def true() -> int:
    process = await asyncio.create_subprocess_exec(
        "/bin/true", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()
    return process.returncode or 0


@DBOS.workflow()
async def noop(run: str) -> None:
    tell("started", run)
    await nothing()
    tell("ended", run)


@DBOS.workflow()
async def five(run: str) -> None:
    for _ in range(5):
        await true()
    tell("ended", run)


async def submit(kind: str, run: str) -> None:
    with SetWorkflowID(run):
        await DBOS.start_workflow_async(noop if kind == "noop" else five, run)


async def main() -> None:
    from driving import drive

    DBOS.launch()
    await drive(submit)


if __name__ == "__main__":
    asyncio.run(main())
