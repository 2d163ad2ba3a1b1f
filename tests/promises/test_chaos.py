"""A platform of its own under load, its services, Kafka and MongoDB killed at random: every promise holds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)
pytestmark = [pytest.mark.breaks, pytest.mark.slow, pytest.mark.timeout(900)]


def chaos(*options: str, seed: int) -> dict:
    print(f"seed {seed}")
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "XDG_CACHE_HOME", "CADENZA_CACHE")
        if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-m", "cli", "chaos", *options, "--seed", str(seed), "--json"],
        env={
            **kept,
            "EXECUTOR__LEASE_SECONDS": "4",
            "EXECUTOR__RENEW_SECONDS": "0.5",
            "EXTRACTOR__LEASE_SECONDS": "4",
            "EXTRACTOR__RENEW_SECONDS": "0.5",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert found["broken"] == [], f"seed {seed}: " + "\n".join(found["broken"][:40])
    assert done.returncode == 0
    return found


def test_twenty_seconds_of_it():
    found = chaos(
        "--runs",
        "200",
        "--webhooks",
        "100",
        "--minutes",
        "0.33",
        "--gap",
        "1.5",
        "4",
        seed=FIRST_SEED,
    )
    assert found["accepted_runs"] == 200
    assert found["extracted"] == 100
    assert sum(row["runs"] for row in found["ends"]) == 200
    assert len([kill for kill in found["kills"] if kill["ready"] is not None]) >= 4


@pytest.mark.chaos
def test_four_minutes_of_it():
    found = chaos("--runs", "1500", "--webhooks", "800", "--minutes", "4", seed=FIRST_SEED + 1)
    assert (found["accepted_runs"], found["extracted"]) == (1500, 800)
