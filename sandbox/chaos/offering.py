"""Offers load to a platform that is being broken: asks again, with the same key, until it is accepted.

Runs and webhooks are spread evenly over the time; several threads, so that one that waits holds up nothing.
"""

import copy
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.addresses import API_KEY, CUSTOMER, Addresses
from sandbox.chaos.load import Planned

SAMPLE = Path(__file__).parents[1] / "virtuoso" / "data" / "execution-88715.json"
FIRST_EXECUTION = 1_000_000
TIMEOUT = 10.0
PAUSE = 0.2
REFUSED = range(400, 500)
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """The platform said no for good; the load has a mistake, or the platform has."""


class Offering:
    """`accepted` (execution id → what was asked for) and `told` (Virtuoso executions) grow while it runs."""

    def __init__(self, addresses: Addresses, *, rng: random.Random, threads: int = 8) -> None:
        self._gateway = addresses.services["gateway"]
        self._simulator = addresses.virtuoso.removesuffix("/api")
        self._rng = rng
        self._threads = threads
        self._sample = json.loads(SAMPLE.read_text("utf-8"))
        self._prefix = f"{rng.getrandbits(64):016x}"
        self.accepted: dict[str, Planned] = {}
        self.told: set[int] = set()
        self.asked_again = 0
        self.refused: list[str] = []

    def run(self, runs: Sequence[Planned], webhooks: int, *, seconds: float) -> None:
        """Return when all is accepted."""
        jobs: list[Callable[[], None]] = [self._run_job(n, one) for n, one in enumerate(runs)]
        jobs += [self._webhook_job(n) for n in range(webhooks)]
        self._rng.shuffle(jobs)
        gap = seconds / max(1, len(jobs))
        began = time.monotonic()
        queue = iter(enumerate(jobs))
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    number, job = next(queue, (0, None))
                if job is None:
                    return
                time.sleep(max(0.0, began + number * gap - time.monotonic()))
                try:
                    job()
                except Refused as error:
                    self.refused.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run_job(self, number: int, planned: Planned) -> Callable[[], None]:
        def offer() -> None:
            key = {"Idempotency-Key": f"{self._prefix}-{number}"}
            answer = self._insist("/v1/executions", {"plan": planned.plan}, key)
            id_ = answer["execution_id"]
            self.accepted[id_] = planned
            if planned.cancel:
                self._insist(f"/v1/executions/{id_}/cancel", {"reason": "chaos"}, {}, fine=(409,))

        return offer

    def _webhook_job(self, number: int) -> Callable[[], None]:
        execution = FIRST_EXECUTION + number

        def tell() -> None:
            body = copy.copy(self._sample) | {"id": execution}
            _call("PUT", f"{self._simulator}/_simulator/executions/{execution}", body, {})
            told = {"customerId": CUSTOMER["id"], "executionId": str(execution)}
            self._insist("/webhook/execution-complete", told, {})
            self.told.add(execution)
            if number % 10 == 0:  # webhooks are delivered twice now and then
                self._insist("/webhook/execution-complete", told, {})

        return tell

    def _insist(
        self, path: str, body: Any, headers: Mapping[str, str], *, fine: Sequence[int] = ()
    ) -> dict[str, Any]:
        while True:
            try:
                return _call("POST", self._gateway + path, body, headers)
            except urllib.error.HTTPError as error:
                text = error.read().decode(errors="replace")[:200]
                if error.code in fine:
                    return {}
                if error.code in REFUSED and error.code != 429:
                    raise Refused(f"{error.code} {text}") from None
            except OSError:  # nobody listens, or the connection broke before the answer
                pass
            self.asked_again += 1
            time.sleep(PAUSE)


def _call(method: str, url: str, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-API-Key": API_KEY, **headers},
        method=method,
    )
    with _direct.open(request, timeout=TIMEOUT) as response:
        answer: dict[str, Any] = json.loads(response.read() or b"{}")
        return answer
