"""The apps that come with the platform, started by name in a fresh sandbox: real files, a real page, a real browser."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.executor.programs.browser.finding import find_browser
from tests.e2e.examples import ENDED, SECONDS, Gateway, Run, browser_path
from tests.integration.executor.browser.site import serving

TESTING = "ui_web_auto_testing"
WITH_TESTS = "examples/21-element-extraction/app.yaml"


@contextmanager
def running(platform, gateway: Gateway) -> Iterator[list[str]]:
    """`cadenza apps seed`, then runs by name beside what else is done inside; which apps were left out."""
    seeded = platform.json("apps", "seed")["items"]
    assert {(one["app_name"], one["app_id"]) for one in seeded} == {
        ("data_quality", 1),
        (TESTING, 2),
    }
    if find_browser(browser_path()) is None:
        yield [TESTING]
        _data_quality(platform, gateway)
        return
    with serving() as site:
        shipped = _start(gateway, f"{site.url}/shop")
        platform.json("apps", "configure", TESTING, WITH_TESTS)
        with_tests = _start(gateway, f"{site.url}/inner")
        yield []
        _data_quality(platform, gateway)
        _elements(_ended(gateway, shipped))
        _tests(_ended(gateway, with_tests))


def _data_quality(platform, gateway: Gateway) -> None:
    """Of a table that a run before has kept, as the README of the example says."""
    (before,) = gateway.items("/v1/executions?label=example%3D03-data-quality")
    kept = gateway.items(f"/v1/executions/{before['execution_id']}/artifacts")
    (table,) = [one["storage_path"] for one in kept if one["artifact_name"] == "orders.csv"]
    app = "data_quality/dq_profiling"
    ended = platform.json("apps", "run", app, "--input", f"artifact={table}", "--follow")
    assert ended["status"] == "completed", ended
    run = Run.of(gateway, gateway.get(f"/v1/executions/{ended['execution_id']}"))
    output = run.output("profile_data")
    assert 0.8 < output["score"] < 1
    assert output["dimensions"]["completeness"] == 0.99375
    assert [column["name"] for column in output["columns"]][:2] == ["order", "customer_email"]
    assert (run.document["app_id"], run.document["sub_app_id"]) == (1, 1)
    assert run.artifacts == {"data-quality-report.json"}


def _start(gateway: Gateway, page: str) -> str:
    body: dict[str, Any] = {"app": {"name": TESTING}, "inputs": {"web_page_url": page}}
    return gateway.post("/v1/executions", body)["execution_id"]


def _ended(gateway: Gateway, run: str) -> Run:
    deadline = time.monotonic() + SECONDS
    while (document := gateway.get(f"/v1/executions/{run}"))["status"] not in ENDED:
        assert time.monotonic() < deadline, document["status"]
        time.sleep(0.2)
    found = Run.of(gateway, document)
    assert document["status"] == "completed", found.steps
    return found


def _elements(run: Run) -> None:
    output = run.output("element_extraction_using_python_playwright")
    found = {element["text"]: element for element in output["extracted_elements"]}
    best = found["Find it"]["locators"][0]
    assert (best["strategy"], best["value"], best["score"]) == (
        "data-testid", "data-testid=go", 0.95,
    )  # fmt: skip
    assert (run.document["app_id"], run.document["app_version"]) == (2, "1.0.0")
    assert "elements.json" in run.artifacts


def _tests(run: Run) -> None:
    """One button: opened, seen, pressed."""
    (case,) = run.output("generate_test_cases")["test_cases"]
    assert case["name"] == "functional: button press me"
    done = run.output("execute_test_cases")
    assert [step["action"] for step in done["steps"]] == ["navigate", "assert_visible", "click"]
    assert (done["passed"], done["failed"]) == (3, 0)
    assert run.document["app_version"] == "2.0.0"
