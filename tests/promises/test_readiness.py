"""Readiness tells the truth while a dependency is gone, and comes back by itself."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.builders.runs import a_step

pytestmark = [pytest.mark.breaks, pytest.mark.timeout(180)]


def ready(module) -> tuple[int, dict]:
    answer = httpx.get(module.url + "/health/ready", timeout=5, trust_env=False)
    return answer.status_code, answer.json()


def live(module) -> int:
    return httpx.get(module.url + "/health", timeout=5, trust_env=False).status_code


def test_without_the_database_nobody_is_ready_and_everybody_lives(fragile):
    gateway, executor = fragile.service("gateway"), fragile.service("executor")
    assert ready(gateway)[0] == ready(executor)[0] == 200
    before = fragile.submit(a_step())
    fragile.wait_final(before)

    fragile.mongo.stop()
    fragile.until(lambda: ready(executor)[0] == 503, what="the executor to be not ready")
    fragile.until(lambda: ready(gateway)[0] == 503, what="the gateway to be not ready")
    assert live(gateway) == live(executor) == 200
    body = {"plan": {"name": "x", "steps": [a_step()]}}
    begun = time.monotonic()
    with fragile.client() as client, ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: client.post("/v1/executions", json=body), range(20)))
    assert time.monotonic() - begun < 8, "a quick no is better than a slow one"
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)

    fragile.mongo.start()
    fragile.until(
        lambda: ready(gateway)[0] == ready(executor)[0] == 200, what="both to be ready again"
    )
    after = fragile.submit(a_step())
    (document,) = fragile.wait_final(after, timeout=30)
    assert document["status"] == "completed"


def test_without_kafka_the_gateway_accepts_and_the_executor_is_not_ready(fragile):
    gateway, executor = fragile.service("gateway"), fragile.service("executor")
    fragile.kafka.stop()
    fragile.until(lambda: ready(executor)[0] == 503, what="the executor to be not ready")
    assert ready(gateway)[0] == 200
    execution_id = fragile.submit(a_step())
    fragile.kafka.start()
    fragile.until(
        lambda: ready(executor)[0] == 200, timeout=60, what="the executor to be ready again"
    )
    fragile.wait_final(execution_id, timeout=40)
