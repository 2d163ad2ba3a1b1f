"""When what is killed, and how: decided by the seed before anything starts."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.addresses import SERVICES

STORES = ("Kafka", "MongoDB")
TARGETS = (*SERVICES, *STORES)
GENTLE = 0.2
"""Part of the services' deaths that are asked for (SIGTERM)."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One death, `at` seconds after the load begins."""

    at: float
    target: str
    signal: signal.Signals


def schedule(
    rng: random.Random,
    *,
    seconds: float,
    gaps: tuple[float, float],
    targets: Sequence[str] = TARGETS,
) -> list[Kill]:
    """Deaths with a pause within `gaps` before each, going round all targets in an order drawn anew each time."""
    kills: list[Kill] = []
    at = 0.0
    while True:
        for target in rng.sample(targets, len(targets)):
            at += rng.uniform(*gaps)
            if at >= seconds:
                return kills
            gentle = target not in STORES and rng.random() < GENTLE
            kills.append(Kill(round(at, 1), target, signal.SIGTERM if gentle else signal.SIGKILL))
