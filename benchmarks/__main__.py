"""`python -m benchmarks [--quick] [--out FILE]`: measure the spine, print it, write it to `benchmarks/results/`."""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks import spine
from benchmarks.stack import stack

RESULTS = Path(__file__).parent / "results"
VERSIONS = ("fastapi", "aiokafka", "pymongo", "pydantic", "uvicorn")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the load, to try it out")
    parser.add_argument("--cores", type=int, default=2, help="cores to measure on (default 2)")
    parser.add_argument(
        "--out", type=Path, help="file for the result; default: benchmarks/results/"
    )
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: arguments.cores]
    os.sched_setaffinity(0, cores)  # everything started from here inherits it
    # The client shares the two cores with what it measures; it should take little of them.
    with stack() as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(spine.measure(running, quick=arguments.quick))
    now = datetime.now(UTC)
    report = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "spine": result,
    }
    text = json.dumps(report, indent=2)
    print(text)
    out = arguments.out or RESULTS / f"spine-{now:%Y-%m-%d}.json"
    if not arguments.quick or arguments.out:
        out.write_text(text + "\n")


if __name__ == "__main__":
    main()
