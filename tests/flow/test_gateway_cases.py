"""The test cases of a run: those of the tries that count, filtered, paged, and never across tenants."""

import pytest

from shared.views.cases import CASES
from tests.builders.gateway import OTHER, RecordingSender, running
from tests.flow.test_gateway_reading import an_execution, every_page, read, store

COUNTS = {"tests": 30, "passed": 20, "failed": 10, "skipped": 0, "flaky": 5}


@pytest.fixture
async def gateway(mongo_settings, kafka_settings, tmp_path):
    parts = {"sender": RecordingSender()}
    async with running(mongo_settings, kafka_settings, tmp_path, parts=parts) as it:
        yield it


async def a_run_with_cases(gateway, *, steps, cases):
    (run,) = await store(gateway, "executions", an_execution(results=COUNTS))
    of_run = {"execution_id": run, "tenant": "demo"}
    await store(
        gateway,
        "execution_steps",
        *(
            {
                "_id": f"{run}/{number}",
                "step_id": number,
                "step_name": f"step-{number}",
                "status": "completed",
                "results": None if number % 10 == 0 else COUNTS | {"attempt": "1.2"},
                **of_run,
            }
            for number in range(1, steps + 1)
        ),
    )
    await store(
        gateway,
        CASES,
        *(
            {
                "_id": f"{run}/{step}/{attempt}/{number}",
                "step_id": step,
                "attempt": attempt,
                "number": number,
                "name": f"case-{number}",
                "class_name": "shop.Cart",
                "status": "failed" if number % 3 == 0 else "passed",
                "flaky": number % 3 == 1,
                "retries": number % 2,
                **of_run,
            }
            for step in range(1, steps + 1)
            for attempt in ("1.1", "1.2")
            for number in range(1, cases + 1)
        ),
    )
    return f"/v1/executions/{run}/tests", run


async def test_the_cases_of_the_tries_that_count_page_by_page(gateway):
    path, run = await a_run_with_cases(gateway, steps=123, cases=3)
    items = await every_page(gateway, path, limit=7)
    counted = [step for step in range(1, 124) if step % 10]
    assert [(one["step_id"], one["number"]) for one in items] == [
        (step, number) for step in counted for number in (1, 2, 3)
    ]
    assert {one["attempt"] for one in items} == {"1.2"}
    assert items[0]["name"] == "case-1"
    shown = await read(gateway, f"/v1/executions/{run}")
    assert shown["results"] == COUNTS
    steps = await read(gateway, f"/v1/executions/{run}/steps")
    assert steps["items"][0]["results"] == COUNTS | {"attempt": "1.2"}


async def test_cases_are_filtered(gateway):
    path, _ = await a_run_with_cases(gateway, steps=3, cases=9)
    failed = await every_page(gateway, path, status="failed", limit=2)
    assert [(one["step_id"], one["number"]) for one in failed] == [
        (step, number) for step in (1, 2, 3) for number in (3, 6, 9)
    ]
    flaky = await read(gateway, path, params={"flaky": True, "step": "step-2"})
    assert [(one["step_id"], one["number"]) for one in flaky["items"]] == [(2, 1), (2, 4), (2, 7)]
    numbered = await read(gateway, path, params={"flaky": False, "step": "3", "status": "passed"})
    assert [one["number"] for one in numbered["items"]] == [2, 5, 8]
    nowhere = await read(gateway, path, params={"step": "no-such-step"})
    assert nowhere == {"items": [], "next_cursor": None}


async def test_wrong_questions_and_other_tenants(gateway):
    path, _ = await a_run_with_cases(gateway, steps=1, cases=1)
    assert (await gateway.client.get(path, headers=OTHER)).status_code == 404
    unknown = await gateway.client.get("/v1/executions/none/tests")
    assert unknown.status_code == 404
    for name, value in {"cursor": "x", "status": "green", "limit": 0, "flaky": "maybe"}.items():
        answer = await gateway.client.get(path, params={name: value})
        assert answer.status_code == 422, name
        assert name in answer.text
