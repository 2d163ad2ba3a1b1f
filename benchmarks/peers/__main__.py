"""`python -m benchmarks.peers [--only NAMES] [--quick] [--out FILE]`: Cadenza and its peers, one after the other."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.__main__ import RESULTS, machine
from benchmarks.peers.cadenza import Cadenza
from benchmarks.peers.celery import Celery
from benchmarks.peers.dbos import Dbos
from benchmarks.peers.measure import Measurement
from benchmarks.peers.peer import Peer
from benchmarks.peers.prefect import Prefect
from benchmarks.peers.restate import Restate
from benchmarks.peers.signals import Signals
from benchmarks.peers.workshop import Workshop
from benchmarks.spine import bare_loop
from sandbox.errors import SandboxError

FOLDER = Path(".cadenza/peers").resolve()
PEERS: dict[str, Callable[[Workshop, Signals], Peer]] = {
    "cadenza": Cadenza,
    "restate": lambda workshop, _: Restate(workshop),
    "celery": lambda workshop, _: Celery(workshop),
    "dbos": lambda workshop, _: Dbos(workshop),
    "prefect": lambda workshop, _: Prefect(workshop),
}
FIVE_RUNS = 200


async def measured(name: str, workshop: Workshop, *, quick: bool) -> dict[str, Any]:
    """The figures of one peer, or the sentence that says why there are none."""
    workshop.clear()
    signals = Signals()
    peer = PEERS[name](workshop, signals)
    with signals.listening(workshop.socket):
        try:
            await peer.start()
            scale = peer.scale * (0.1 if quick else 1.0)
            return await Measurement(peer, signals, scale=scale).all()
        except (SandboxError, RuntimeError, TimeoutError) as error:
            return {"failed": str(error) or type(error).__name__}
        finally:
            await peer.stop()


def ratios(figures: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Cadenza's rate divided by each peer's; above 1 it is faster."""
    ours = figures.get("cadenza", {})
    found: dict[str, dict[str, float]] = {}
    for name, theirs in figures.items():
        if name == "cadenza" or "failed" in theirs or "noop" not in ours:
            continue
        found[name] = {
            "noop": round(ours["noop"]["median"] / theirs["noop"]["median"], 2),
            "five": round(ours["five"]["runs_per_second"] / theirs["five"]["runs_per_second"], 2),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help=f"names, with commas between: {', '.join(PEERS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load, to try it out")
    parser.add_argument("--cores", type=int, default=2, help="cores to measure on (default 2)")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/peers-<day>.json")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    workshop = Workshop(FOLDER)
    figures = {}
    for name in arguments.only.split(",") if arguments.only else PEERS:
        print(f"measuring {name} …", file=sys.stderr)
        figures[name] = asyncio.run(measured(name, workshop, quick=arguments.quick))
    loop = round(asyncio.run(bare_loop(FIVE_RUNS))["runs_per_second"], 1)
    now = datetime.now(UTC)
    report = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "quick": arguments.quick,
        "bare_loop_five_per_second": loop,
        "ratios": ratios(figures),
        "peers": figures,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out or not (arguments.quick or arguments.only):
        (arguments.out or RESULTS / f"peers-{now:%Y-%m-%d}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
