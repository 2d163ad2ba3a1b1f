"""One chaos run against a sandbox that is up: load and deaths at the same time, then peace, then the promises."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient

from sandbox.addresses import CUSTOMER, TENANT
from sandbox.chaos.assault import Assault
from sandbox.chaos.evidence import gather, unfinished
from sandbox.chaos.invariants import broken
from sandbox.chaos.lake import broken_lake
from sandbox.chaos.load import mixed
from sandbox.chaos.offering import Offering
from sandbox.chaos.remains import folders_of, processes_of
from sandbox.chaos.report import Findings
from sandbox.chaos.schedule import schedule
from sandbox.supervisor import Sandbox
from services.extractor.lake.keys import CustomerKeys
from services.extractor.models import extraction_id
from shared.objects.local import LocalStore
from shared.settings import MongoSettings
from shared.views.executions import FINAL

LOAD_PART = 0.9
"""Part of the time in which load is offered; the last deaths meet what is on its way."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    runs: int
    webhooks: int
    seconds: float
    seed: int
    gaps: tuple[float, float]
    patience: float
    """Seconds that everything may take to come to rest afterwards."""


class ChaosSession:
    """`say` tells a person what is being done."""

    def __init__(self, sandbox: Sandbox, wanted: Wanted, *, say: Callable[[str], None]) -> None:
        self._sandbox = sandbox
        self._wanted = wanted
        self._say = say
        rng = random.Random(wanted.seed)
        self._runs = list(mixed(rng, wanted.runs))
        self._kills = schedule(rng, seconds=wanted.seconds, gaps=wanted.gaps)
        self._offering = Offering(sandbox.addresses, rng=rng)
        client: MongoClient[dict[str, Any]] = MongoClient(
            sandbox.addresses.mongo, serverSelectionTimeoutMS=1000, tz_aware=True
        )
        self._database = client[MongoSettings().database]

    def run(self) -> Findings:
        wanted = self._wanted
        self._say(f"seed {wanted.seed}: {wanted.runs} runs, {wanted.webhooks} webhooks")
        began = time.monotonic()
        assault = Assault(self._sandbox.parts, self._kills, self._ended)
        attack = threading.Thread(target=assault.run, args=(threading.Event(),))
        attack.start()
        self._offering.run(self._runs, wanted.webhooks, seconds=wanted.seconds * LOAD_PART)
        attack.join()
        rest = time.monotonic()
        self._say(f"{len(assault.wounds)} kills; waiting until all has come to rest")
        trouble = [*self._offering.refused, *self._come_to_rest()]
        trouble += [
            f"{wound.kill.target} did not come back: {wound.trouble}"
            for wound in assault.wounds
            if wound.trouble and wound.ready is None and "left alone" not in wound.trouble
        ]
        rested = time.monotonic() - rest
        return self._findings(assault, trouble, load=rest - began, rested=rested)

    def _findings(
        self, assault: Assault, trouble: list[str], *, load: float, rested: float
    ) -> Findings:
        self._say("holding what is left against the promises")
        planned = self._offering.accepted
        evidence = gather(self._database, self._sandbox.addresses.kafka, list(planned))
        items = self._extractions()
        work = self._sandbox.settings.data.absolute() / "work"
        return Findings(
            seed=self._wanted.seed,
            asked={"runs": self._wanted.runs, "webhooks": self._wanted.webhooks},
            planned=planned,
            evidence=evidence,
            wounds=assault.wounds,
            broken=[
                *trouble,
                *broken(evidence, planned),
                *asyncio.run(self._lake(items)),
                *processes_of(planned),
                *folders_of(work, planned),
            ],
            extracted=sum(1 for one in items.values() if one and one["status"] == "completed"),
            asked_again=self._offering.asked_again,
            load_seconds=load,
            rest_seconds=rested,
        )

    def _ended(self) -> int:
        """Runs and extractions that are over."""
        over = {"status": {"$in": list(FINAL)}}
        return sum(
            self._database[name].count_documents(over) for name in ("executions", "extractions")
        )

    def _come_to_rest(self) -> list[str]:
        """Wait until nothing is under way; what still is after too long is a broken promise."""
        deadline = time.monotonic() + self._wanted.patience
        while True:
            left = unfinished(self._database, list(self._offering.accepted))
            waiting = sum(1 for one in self._extractions().values() if not _settled(one))
            if waiting:
                left.append(f"{waiting} extractions are not over")
            if any((self._sandbox.settings.data / "objects").glob("**/index/deltas/*.json")):
                left.append("rows are not in the index")
            if not left:
                return []
            if time.monotonic() > deadline:
                return [f"after {self._wanted.patience:.0f} s: {one}" for one in left]
            time.sleep(0.5)

    def _extractions(self) -> dict[int, dict[str, Any] | None]:
        found = {row["_id"]: row for row in self._database["extractions"].find({"tenant": TENANT})}
        return {
            number: found.get(extraction_id(TENANT, CUSTOMER["slug"], str(number)))
            for number in sorted(self._offering.told)
        }

    async def _lake(self, items: dict[int, dict[str, Any] | None]) -> list[str]:
        store = LocalStore(self._sandbox.settings.data.absolute() / "objects")
        keys = CustomerKeys(f"{TENANT}/lake", CUSTOMER["slug"])
        return await broken_lake(store, keys, items)


def _settled(item: dict[str, Any] | None) -> bool:
    return item is not None and (
        item["status"] in FINAL and not item.get("again") and not item["events"]
    )
