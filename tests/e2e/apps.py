"""The apps that come with the platform, started by name in a fresh sandbox: real files, a real page, a real browser."""

from services.executor.programs.browser.finding import find_browser
from tests.e2e.examples import Gateway, Run, browser_path
from tests.integration.executor.browser.site import serving


def run_both(platform, gateway: Gateway) -> list[str]:
    """`cadenza apps seed`, then `cadenza apps run` of each; which were left out."""
    seeded = platform.json("apps", "seed")["items"]
    assert {(one["app_name"], one["app_id"]) for one in seeded} == {
        ("data_quality", 1),
        ("ui_web_auto_testing", 2),
    }
    _data_quality(platform, gateway)
    if find_browser(browser_path()) is None:
        return ["ui_web_auto_testing"]
    _ui_web_auto_testing(platform, gateway)
    return []


def _data_quality(platform, gateway: Gateway) -> None:
    """Of a table that a run before has kept, as the README of the example says."""
    (before,) = gateway.items("/v1/executions?label=example%3D03-data-quality")
    kept = gateway.items(f"/v1/executions/{before['execution_id']}/artifacts")
    (table,) = [one["storage_path"] for one in kept if one["artifact_name"] == "orders.csv"]
    run = _run(platform, gateway, "data_quality/dq_profiling", f"artifact={table}")
    output = run.output("profile_data")
    assert 0.8 < output["score"] < 1
    assert output["dimensions"]["completeness"] == 0.99375
    assert [column["name"] for column in output["columns"]][:2] == ["order", "customer_email"]
    assert run.document["app_id"] == 1
    assert run.artifacts == {"data-quality-report.json"}


def _ui_web_auto_testing(platform, gateway: Gateway) -> None:
    with serving() as site:
        run = _run(platform, gateway, "ui_web_auto_testing", f"web_page_url={site.url}/shop")
    output = run.output("element_extraction_using_python_playwright")
    found = {element["text"]: element for element in output["extracted_elements"]}
    assert found["Find it"]["locators"][0] == {
        "strategy": "data-testid",
        "value": "data-testid=go",
        "score": 0.95,
        "unique": True,
    }
    assert run.document["app_id"] == 2
    assert "elements.json" in run.artifacts


def _run(platform, gateway: Gateway, app: str, given: str) -> Run:
    ended = platform.json("apps", "run", app, "--input", given, "--follow")
    assert ended["status"] == "completed", ended
    return Run.of(gateway, gateway.get(f"/v1/executions/{ended['execution_id']}"))
