"""`cadenza extract`: bring one Virtuoso execution of one customer into the lake."""

from typing import Annotated

import typer

from cli.client import Client, Json
from cli.exits import FAILED, PASSED, Refused
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, print_json, status
from cli.waiting import until

GOOD = ("completed", "unchanged")
NOT_FOUND, CONFLICT = 404, 409
ENDED = (*GOOD, "denied", "failed", "cancelled")


def extract(
    customer: Annotated[str, typer.Argument(help="Id of the customer.", show_default=False)],
    execution: Annotated[str, typer.Argument(help="Id of the execution.", show_default=False)],
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 120,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Fetch an execution from Virtuoso and write it to the lake."""
    body = {"customer_id": customer, "execution_id": execution}
    with gateway(url, api_key) as client:
        before = last_change(client, customer, execution)
        answer = client.post("/v1/extractions", body)
        if wait:
            answer = wait_for_extraction(client, customer, execution, since=before, seconds=timeout)
    if as_json:
        print_json(answer)
    elif wait:
        reason = answer.get("reason") or answer.get("outcome") or ""
        console.print(status(answer["status"]), reason, markup=False)
        for key in answer.get("objects") or []:
            console.print(f"  {key}", soft_wrap=True, markup=False)
    else:
        console.print("accepted")
    return PASSED if not wait or answer["status"] in GOOD else FAILED


def last_change(client: Client, customer: str, execution: str) -> str | None:
    """When the extraction was touched last; None when there is none yet."""
    try:
        answer = client.get(f"/v1/extractions/{customer}/{execution}")
    except Refused as refusal:
        if refusal.status == NOT_FOUND:
            return None
        if refusal.status == CONFLICT:  # it is being worked on
            return ""
        raise
    return str(answer.get("updated_at"))


def wait_for_extraction(
    client: Client, customer: str, execution: str, *, since: str | None, seconds: float = 120
) -> Json:
    """The extraction once it has ended, later than `since`."""
    return until(
        lambda: client.get(f"/v1/extractions/{customer}/{execution}"),
        lambda answer: answer["status"] in ENDED and answer.get("updated_at") != since,
        seconds=seconds,
        what=f"The extraction of {customer}/{execution}",
    )
