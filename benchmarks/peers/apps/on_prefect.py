"""Prefect: flows of one task, or of five that start a process each, served as deployments, started over the API."""

import asyncio
import subprocess
import sys

from prefect import flow, serve, task
from signals import tell


@task
def nothing() -> int:
    return 0


@task
def true() -> int:
    return subprocess.run(["/bin/true"], capture_output=True, check=False).returncode


@flow
def noop(run: str) -> None:
    tell("started", run)
    nothing()
    tell("ended", run)


@flow
def five(run: str) -> None:
    for _ in range(5):
        true()
    tell("ended", run)


async def main() -> None:
    from driving import drive
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        ids = {
            kind: (await client.read_deployment_by_name(f"{kind}/bench")).id
            for kind in ("noop", "five")
        }

        async def submit(kind: str, run: str) -> None:
            await client.create_flow_run_from_deployment(ids[kind], parameters={"run": run})

        await drive(submit)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(noop.to_deployment("bench"), five.to_deployment("bench"), limit=8)
    else:
        asyncio.run(main())
