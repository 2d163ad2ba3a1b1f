"""Every example, run as a user would through the gateway of a running sandbox: how it ends, and what it is about.

A test in `tests/architecture` holds this table against the folders of `examples/`.
"""

import io
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cli.archives import pack_folder
from cli.client import Client
from cli.plans import load_plan
from cli.tables import with_table
from services.executor.programs.browser.finding import HOW, find_browser

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 90
"""For all of them together, on a busy machine."""
ENDED = ("completed", "failed", "cancelled", "timed_out")
ELSEWHERE = {"02-library": "tests/unit/executor/library/test_isolation.py"}
"""Examples without a plan."""
NO_PLANS = {"21-element-extraction/app.yaml", "25-seven-ps/local.yaml"}
"""An app, which a test of its own runs, and a plan for an executor in another mode."""


class Gateway:
    """What the examples ask of the REST interface. Use as a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, headers={"X-API-Key": "demo-key"}, timeout=30)

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    def items(self, path: str) -> list[dict[str, Any]]:
        return self.get(path)["items"]

    def post(self, path: str, body: Any) -> Any:
        answer = self._client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def put(self, path: str, value: str) -> None:
        self._client.put(path, json={"value": value}).raise_for_status()

    def upload(self, folder: Path) -> str:
        """The SHA-256."""
        packed = io.BytesIO()
        pack_folder(folder, packed, exclude=())
        return (
            self._client.post("/v1/uploads", content=packed.getvalue())
            .raise_for_status()
            .json()["sha256"]
        )

    def log(self, run: str) -> str:
        return "".join(chunk["text"] for chunk in self.items(f"/v1/executions/{run}/logs"))


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    gateway: Gateway
    document: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    artifacts: set[str]

    @classmethod
    def of(cls, gateway: Gateway, document: dict[str, Any]) -> "Run":
        at = f"/v1/executions/{document['execution_id']}"
        steps = {step["step_name"]: step for step in gateway.items(f"{at}/steps")}
        artifacts = {one["artifact_name"] for one in gateway.items(f"{at}/artifacts")}
        return cls(gateway, document, steps, artifacts)

    def output(self, step: str) -> dict[str, Any]:
        return self.steps[step]["output"]

    def list(self, what: str) -> list[dict[str, Any]]:
        return self.gateway.items(f"/v1/executions/{self.document['execution_id']}/{what}")

    @property
    def log(self) -> str:
        return self.gateway.log(self.document["execution_id"])


About = Callable[[Run], None]


@dataclass(frozen=True)
class Example:
    """One plan: what it is given, and what must have come of it."""

    plan: str
    about: About
    inputs: Callable[[Gateway], Mapping[str, Any]] = lambda _: {}
    reason: str | None = None
    browser: bool = False
    meanwhile: Callable[[Gateway, str], None] = lambda _gateway, _run: None
    replaced: Callable[[Gateway], Mapping[str, str]] = lambda _: {}
    """Texts of the plan that are put in by hand."""

    @property
    def folder(self) -> str:
        return self.plan.partition("/")[0]


@dataclass
class Outcome:
    """How all of them went."""

    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def run_all(gateway: Gateway, tmp: Path) -> Outcome:
    """All at the same time, as far as the executor takes them."""
    outcome = Outcome()
    prepare(gateway)
    here = [one for one in TABLE if not one.browser or find_browser(browser_path())]
    outcome.left_out = [f"{one.plan}: {HOW}" for one in TABLE if one not in here]
    started = {one.plan: (one, _start(one, gateway, tmp)) for one in here}
    deadline = time.monotonic() + SECONDS
    while started and time.monotonic() < deadline:
        for name, (example, run) in list(started.items()):
            example.meanwhile(gateway, run)
            document = gateway.get(f"/v1/executions/{run}")
            if document["status"] in ENDED:
                del started[name]
                outcome.problems += _judged(example, gateway, document)
        time.sleep(0.2)
    outcome.problems += [f"{name}: has not ended" for name in started]
    return outcome


def prepare(gateway: Gateway) -> None:
    """What the READMEs of the examples have a tenant set."""
    gateway.put("/v1/variables/SHOP_URL", "https://shop.example.com")
    gateway.put("/v1/secrets/SHOP_TOKEN", "s3cret-token")
    gateway.put("/v1/secrets/shop_db_user", "svc_checkout")
    gateway.put("/v1/secrets/shop_db_password", "not-a-real-one")


def browser_path() -> str | None:
    return os.environ.get("EXECUTOR__BROWSER_PATH")


def _start(example: Example, gateway: Gateway, tmp: Path) -> str:
    path = EXAMPLES / example.plan
    texts = example.replaced(gateway)
    if texts:
        text = path.read_text("utf-8")
        for old, new in texts.items():
            text = text.replace(old, new)
        path = tmp / path.name
        path.write_text(text, "utf-8")
    with Client(gateway.url, "demo-key") as client:
        plan = with_table(load_plan(path), path.parent, client=client)
    body = {"plan": plan, "inputs": example.inputs(gateway)}
    return gateway.post("/v1/executions", body)["execution_id"]


def _judged(example: Example, gateway: Gateway, document: dict[str, Any]) -> list[str]:
    run = Run.of(gateway, document)
    try:
        assert (document["status"], document["reason"]) == ("completed", example.reason)
        example.about(run)
    except (AssertionError, LookupError) as error:
        steps = {
            name: (step["status"], step["reason"], step["error"])
            for name, step in run.steps.items()
        }
        told = f"{type(error).__name__} {error}; {document['status']} {document['error']}; {steps}"
        return [f"{example.plan}: {told}"]
    return []


def _dag(run: Run) -> None:
    assert re.fullmatch(r"40 orders, \d+\.\d\d EUR", run.output("report")["summary"])
    assert run.artifacts == {"report.md"}


def _quality(run: Run) -> None:
    assert run.output("profile")["rows"] == 2000
    assert run.output("profile")["dimensions"]["completeness"] == 0.99375
    assert run.artifacts == {"orders.csv", "data-quality-report.json"}


def _sources(run: Run) -> None:
    assert run.output("check")["checked"] == "https://shop.example.com"
    assert "s3cret-token" not in run.log
    assert "[redacted]" in run.log


def _http(run: Run) -> None:
    assert run.output("refused")["status"] == 401
    assert "answered" in run.log


def _aws(run: Run) -> None:
    assert run.output("list")["Contents"][0]["Key"] == "empty.txt"


def _junit(run: Run) -> None:
    counts = run.document["results"]
    assert counts == {"tests": 4, "passed": 3, "failed": 0, "skipped": 1, "flaky": 1}
    assert {case["name"] for case in run.list("tests")} >= {"test_adds", "wobbles"}


def _browser(run: Run) -> None:
    assert run.output("order")["values"]["thanks"] == "Thank you, Grace! Number 4711"
    assert run.artifacts == {"10-ordered.png", "trace.zip"}


def _elements(run: Run) -> None:
    found = run.output("elements")["extracted_elements"]
    assert {element["text"] for element in found} >= {"Search", "Borrow", "Catalogue"}
    assert run.artifacts == {"elements.json", "page-1.png", "page-2.png"}


def _virtuoso(run: Run) -> None:
    assert run.output("journeys")["outcome"] == "PASS"
    assert any(name.startswith("virtuoso-") for name in run.artifacts)


def _seven_ps(run: Run) -> None:
    assert run.output("test-sets")["counts"]["suites"]["passed"] == 2
    assert run.artifacts == {"seven-ps-results.json"}


def _all_sets(run: Run) -> None:
    assert run.output("lanes") == {"total": 3, "completed": 3}


def _approve(gateway: Gateway, run: str) -> None:
    """Decide and tell what the run waits for."""
    for step in gateway.items(f"/v1/executions/{run}/steps"):
        if step["waiting_for"] is None or step["status"] != "running":
            continue
        if step["step_name"] == "release":
            at = f"/v1/executions/{run}/steps/release/approve"
            gateway.post(at, {"comment": "looks good"})
        else:
            gateway.post("/v1/events/deployed/1.4.2", {"host": "shop-1"})


def _approval(run: Run) -> None:
    assert run.output("release")["by"] == "demo"
    assert "1.4.2 runs on shop-1, approved by demo" in run.log


def _lanes(run: Run) -> None:
    assert run.output("lanes") == {"total": 4, "completed": 4}
    assert [lane["row"]["customer"] for lane in run.list("lanes")] == ["ann", "bob", "cem", "dora"]


def _table(run: Run) -> None:
    rows = (EXAMPLES / "27-lanes/customers.csv").read_text("utf-8").split()[1:]
    assert [",".join(lane["row"].values()) for lane in run.list("lanes")] == rows


def _conditions(run: Run) -> None:
    ends = {name: step["status"] for name, step in run.steps.items()}
    assert ends["shared-database"] == "failed"
    assert ends["own-database"] == ends["test"] == ends["take-down"] == "completed"
    assert run.steps["alarm"]["reason"] == "condition_false"


TABLE = (
    Example("01-dag/plan.yaml", _dag, lambda _: {"orders": 40}),
    Example("03-data-quality/plan.yaml", _quality),
    Example("08-sources/plan.yaml", _sources),
    Example(
        "08-sources/upload.yaml",
        _sources,
        replaced=lambda gateway: {"SHA256": gateway.upload(EXAMPLES / "08-sources/suite")},
    ),
    Example("10-http/plan.yaml", _http, lambda gateway: {"gateway": gateway.url}),
    Example("11-aws-cli/plan.yaml", _aws),
    Example("12-junit/plan.yaml", _junit),
    Example("20-playwright/plan.yaml", _browser, lambda _: {"customer": "Grace"}, browser=True),
    Example("21-element-extraction/plan.yaml", _elements, browser=True),
    Example("24-virtuoso/plan.yaml", _virtuoso),
    Example("25-seven-ps/plan.yaml", _seven_ps),
    Example("25-seven-ps/all-sets.yaml", _all_sets),
    Example("26-approval/plan.yaml", _approval, meanwhile=_approve),
    Example("27-lanes/plan.yaml", _lanes),
    Example("27-lanes/table.yaml", _table),
    Example("30-conditions/plan.yaml", _conditions, reason="degraded"),
)
