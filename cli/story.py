"""The platform's main job, step by step, through the public API only; each step checks what came back.

A step that does not hold raises CliError with one sentence; `tell` stops there.
"""

from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from cli.client import Client, Json
from cli.commands.extract import GOOD, last_change, wait_for_extraction
from cli.commands.run import follow_run
from cli.commands.scan import wait_for_scan
from cli.commands.webhook import send_webhook
from cli.exits import CliError
from cli.live import print_lines
from cli.output import duration, short, size, status, steps_table, table
from cli.plans import load_plan
from sandbox.addresses import API_KEY, CUSTOMER, TENANT, WEBHOOK_SECRET, Addresses
from sandbox.estate import INSTANCES

EXECUTION = 88715
CHECKPOINT = 1304422
QUESTION = """\
SELECT execution_id, journey, outcome, round(duration_ms / 1000) AS seconds, key
FROM executions ORDER BY started_at DESC LIMIT 5"""


class Story:
    """Clients of the sandbox's services, and where to print."""

    def __init__(self, addresses: Addresses, console: Console) -> None:
        self.console = console
        self.gateway = Client(addresses.services["gateway"], API_KEY)
        self.proxy = Client(addresses.services["proxy"], API_KEY)
        self.extractor = Client(addresses.services["extractor"], API_KEY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in (self.gateway, self.proxy, self.extractor):
            client.close()

    def headline(self, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{text}[/]", align="left")


def tell(story: Story) -> dict[str, Json]:
    """Everything in order; what came back, by step."""
    return {
        "run": run_plan(story),
        "extraction": extract(story),
        "lake": ask_the_lake(story),
        "proxy": command_virtuoso(story),
        "scan": scan_aws(story),
    }


def run_plan(story: Story) -> Json:
    """A dependency graph, followed live; then steps, logs and artifact as the API has them."""
    story.headline("A run: examples/01-dag/plan.yaml")
    api, out = story.gateway, story.console
    body = {"plan": load_plan(example()), "labels": {"started-by": "demo"}}
    execution_id = api.post("/v1/executions", body)["execution_id"]
    out.print(f"accepted {execution_id}")
    execution, steps = follow_run(api, execution_id, console=out)
    out.print(steps_table(steps))
    out.print(status(execution["status"]), duration(execution.get("duration_ms")))
    _expect(execution["status"] == "completed", f"the run ended as {execution['status']}")
    _expect(len(steps) >= 5, "the run has fewer steps than its plan")
    chunks = list(api.items(f"/v1/executions/{execution_id}/logs"))
    _expect(bool(chunks), "the run has no logs")
    if not out.is_terminal:
        out.print(f"logs: {len(chunks)} chunks, the last of them:")
        print_lines(out, chunks[-1].get("step_name"), "stdout", chunks[-1]["text"])
    artifact = _report(api, execution_id)
    out.print(
        f"artifact {artifact['artifact_name']} ({size(artifact['size_bytes'])})", markup=False
    )
    out.print(f"  {artifact['storage_path']}", soft_wrap=True, markup=False)
    return {"execution_id": execution_id, "status": execution["status"], "artifact": artifact}


def extract(story: Story) -> Json:
    """Virtuoso's webhook, signed; the extraction that follows from it."""
    story.headline("A webhook: execution 88715 of customer 001 has ended in Virtuoso")
    body = {"customerId": CUSTOMER["id"], "executionId": EXECUTION}
    story.console.print(f"POST /webhook/execution-complete {body} (signed with HMAC-SHA256)")
    names = CUSTOMER["id"], str(EXECUTION)
    before = last_change(story.gateway, *names)
    send_webhook(story.gateway, body, tenant=TENANT, secret=WEBHOOK_SECRET)
    done = wait_for_extraction(story.gateway, *names, since=before, seconds=60)
    reason = done.get("reason") or done.get("outcome") or ""
    story.console.print(status(done["status"]), reason, size(done.get("size_bytes")), markup=False)
    _expect(done["status"] in GOOD, f"the extraction ended as {done['status']} {reason}".strip())
    for key in done.get("objects") or [done["location"]]:
        story.console.print(f"  {key}", soft_wrap=True, markup=False)
    return done


def ask_the_lake(story: Story) -> Json:
    """One SQL question to the lake."""
    story.headline("A question to the lake")
    story.console.print(QUESTION)
    answer = story.extractor.post("/v1/lake/query", {"sql": QUESTION})
    _expect(bool(answer.get("rows")), "the lake knows no executions")
    story.console.print(table(None, answer["columns"], answer["rows"]))
    return answer


def command_virtuoso(story: Story) -> Json:
    """One command through the proxy, in a session; the step is then read back from the checkpoint."""
    story.headline("A command through the proxy: one more step of a Virtuoso test")
    api, out = story.proxy, story.console
    session = api.post("/v1/sessions", {"checkpoint_id": CHECKPOINT})
    body = {"arguments": {"url": "https://shop.example/"}, "session_id": session["id"]}
    answer = api.post("/v1/commands/step-navigate.to", body)
    out.print("POST /v1/commands/step-navigate.to", short(body["arguments"]))
    out.print(f"made {short(answer['created'])} in {duration(answer['duration_ms'])}")
    steps = api.get(f"/api/checkpoints/{CHECKPOINT}/teststeps")["items"]
    made = [step for step in steps if step["id"] == answer["created"].get("step_id")]
    _expect(bool(made), "the step that the proxy made is not in the checkpoint")
    out.print(f"read back: step {len(steps)} of checkpoint {CHECKPOINT}, {short(made[0]['value'])}")
    return answer


def scan_aws(story: Story) -> Json:
    """A scan of the sandbox's AWS estate and what it found."""
    story.headline("A scan of the AWS estate")
    scan_id = story.gateway.post("/v1/scans", {"regions": list(INSTANCES)})["scan_id"]
    scan, found = wait_for_scan(story.gateway, scan_id, seconds=60)
    story.console.print(
        status(scan["status"]), duration(scan.get("duration_ms")), f"{len(found)} resources"
    )
    rows = [(r["resource_type"], r["region"], r["identifier"], r.get("name") or "") for r in found]
    story.console.print(table(None, ("type", "region", "id", "name"), rows))
    _expect(scan["status"] == "completed", f"the scan ended as {scan['status']}")
    _expect(bool(found), "the scan found nothing")
    return {"scan_id": scan_id, "status": scan["status"], "resources": len(found)}


def example() -> Path:
    """The demo's plan: in the checkout, beside the packages."""
    path = Path(str(files("cli"))).parent / "examples" / "01-dag" / "plan.yaml"
    if not path.exists():
        raise CliError("examples/01-dag/plan.yaml is not there: run the demo in a checkout.")
    return path


def _report(api: Client, execution_id: str) -> Json:
    for artifact in api.items(f"/v1/executions/{execution_id}/artifacts"):
        if artifact["artifact_type"] == "report":
            return artifact
    raise CliError("the run kept no report")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CliError(f"The demo failed: {otherwise}.")
