"""What makes an extractor come by its crash points and its writes."""

import asyncio
import copy
import json
from typing import Any

import httpx

from sandbox.chaos.lake import broken_lake
from sandbox.module import Module
from sandbox.ports import free_port
from services.extractor.lake.keys import CustomerKeys
from services.extractor.models import extraction_id
from shared.objects.local import LocalStore
from shared.work.ports import FINAL
from tests.builders.extractions import sample
from tests.promises.crash_points.harness import QUICK, Chain
from tests.promises.platform import Platform

FIRST = 90_000


class ExtractorChain(Chain):
    """Webhooks for executions of the simulator, one of them delivered twice and one repeated later."""

    def __init__(self, it: Platform, service: str, *, more: int) -> None:
        super().__init__(it, service, more=more)
        port = free_port()
        self._simulator = Module(
            "virtuoso",
            ["sandbox.virtuoso", "--port", str(port), "--token", "t"],
            port=port,
            ready="/_simulator/health",
            log=it.folder / "virtuoso.log",
            setting="",
            env=it.environment(port),
        )
        it.modules.append(self._simulator)
        self._simulator.start()
        customer = {
            "slug": "customer-001",
            "tenant": "acme",
            "api_url": f"{self._simulator.url}/api",
            "token": "t",
        }
        self.settings = QUICK | {
            "EXTRACTOR__CUSTOMERS": json.dumps({"001": customer}),
            "EXTRACTOR__CONSUMER_GROUP": f"extractor-{it.settings.database}",
            "EXTRACTOR__LEASE_SECONDS": "3",
            "EXTRACTOR__RENEW_SECONDS": "0.5",
            "EXTRACTOR__MERGE_SECONDS": "0.2",
            "EXTRACTOR__SWEEP_SECONDS": "0.5",
            "EXTRACTOR__DRAIN_SECONDS": "0.3",
        }
        self.asked: list[int] = []

    def mixed(self, module: Module) -> None:
        """A few finished executions, a repeated webhook, and one for an execution that is known already."""
        while module.alive:
            self.mixed_once()
            self.died(module, seconds=1.5)

    def mixed_once(self) -> None:
        for _ in range(2):
            number = FIRST + len(self.asked)
            self._finish(number)
            self.asked.append(number)
            self.tell(number, times=self.rng.choice((1, 2)))
        self.tell(self.rng.choice(self.asked), times=1)

    def end(self) -> None:
        items: dict[int, Any] = {}

        left: list[Any] = []

        def over() -> bool:
            found = self.it.database.extractions.find({"tenant": "acme"})
            by_id = {row["_id"]: row for row in found}
            for number in self.asked:
                items[number] = by_id.get(extraction_id("acme", "customer-001", str(number)))
            left[:] = [
                item
                for item in items.values()
                if item is None
                or item["status"] not in FINAL
                or item.get("again")
                or item["events"]
            ]
            left.extend((self.it.folder / "objects").glob("**/index/deltas/*.json"))
            return not left

        try:
            self.it.until(over, timeout=90, what="all extractions to end")
        except AssertionError as error:
            raise AssertionError(f"{left}\n{error}") from None
        store = LocalStore(self.it.folder / "objects")
        keys = CustomerKeys("acme/lake", "customer-001")
        found = asyncio.run(broken_lake(store, keys, items))
        assert not found, "\n".join(found)

    def _finish(self, number: int) -> None:
        execution = copy.deepcopy(sample("execution-88715")) | {"id": number}
        answer = httpx.put(
            f"{self._simulator.url}/_simulator/executions/{number}", json=execution, trust_env=False
        )
        answer.raise_for_status()

    def tell(self, number: int, *, times: int) -> None:
        body = {"customerId": "001", "executionId": str(number)}
        with self.it.client() as client:
            for _ in range(times):
                client.post("/webhook/execution-complete", json=body).raise_for_status()
