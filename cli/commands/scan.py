"""`cadenza scan`: look at the AWS estates and list what is there."""

from typing import Annotated

import typer

from cli.client import Client, Json
from cli.exits import FAILED, PASSED
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, duration, errors, print_json, status, table
from cli.waiting import until

ENDED = ("completed", "failed", "cancelled", "partial")


def scan(
    account: Annotated[list[str] | None, typer.Option(help="Only this account.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region.")] = None,
    service: Annotated[list[str] | None, typer.Option(help="Only this AWS service.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 600,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Scan AWS estates; without options, everything that is configured."""
    body = {"accounts": account or [], "regions": region or [], "services": service or []}
    with gateway(url, api_key) as client:
        accepted = client.post("/v1/scans", body)
        if not wait:
            print_json(accepted) if as_json else console.print(f"accepted {accepted['scan_id']}")
            return PASSED
        answer, found = wait_for_scan(client, accepted["scan_id"], seconds=timeout)
    if as_json:
        print_json(answer | {"resources": found})
    else:
        show_scan(answer, found)
    return PASSED if answer["status"] == "completed" else FAILED


def wait_for_scan(client: Client, scan_id: str, *, seconds: float) -> tuple[Json, list[Json]]:
    """The scan once it has ended, and what it found."""
    answer = until(
        lambda: client.get(f"/v1/scans/{scan_id}"),
        lambda scan: scan["status"] in ENDED,
        seconds=seconds,
        what=f"The scan {scan_id}",
    )
    return answer, list(client.items(f"/v1/scans/{scan_id}/resources"))


def show_scan(answer: Json, found: list[Json]) -> None:
    """How the scan ended and the resources."""
    console.print(
        status(answer["status"]),
        duration(answer.get("duration_ms")),
        f"{answer.get('discovered', len(found))} resources in {len(answer.get('scopes') or [])} scopes",
    )
    if answer.get("reason") or answer.get("error"):
        errors.print(
            f"{answer.get('reason') or ''} {answer.get('error') or ''}".strip(), markup=False
        )
    if not found:
        return
    rows = (
        (r["service"], r["resource_type"], r["region"], r["identifier"], r.get("name") or "")
        for r in found
    )
    console.print(table(None, ("service", "type", "region", "id", "name"), rows))
