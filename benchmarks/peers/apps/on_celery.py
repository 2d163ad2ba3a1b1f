"""Celery on a Redis that syncs every write: one task, or a chain of five that start a process each."""

import asyncio
import os
import subprocess

from celery import Celery, chain
from celery.signals import worker_ready
from signals import tell

app = Celery("on_celery", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4, task_track_started=False)


@worker_ready.connect
def say(**_: object) -> None:
    print("ready.", flush=True)


@app.task
def noop(run: str) -> int:
    tell("started", run)
    tell("ended", run)
    return 0


@app.task
def true(_before: int, run: str, number: int) -> int:
    done = subprocess.run(["/bin/true"], capture_output=True, check=False)
    if number == 4:
        tell("ended", run)
    return done.returncode


async def submit(kind: str, run: str) -> None:
    """Submitting is a blocking call in Celery."""
    if kind == "noop":
        await asyncio.to_thread(noop.delay, run)
    else:
        steps = [true.s(0, run, 0), *(true.s(run, number) for number in range(1, 5))]
        await asyncio.to_thread(chain(*steps).apply_async)


if __name__ == "__main__":
    from driving import drive

    asyncio.run(drive(submit))
