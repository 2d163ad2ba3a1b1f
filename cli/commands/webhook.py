"""`cadenza webhook send`: tell the platform that a Virtuoso execution has ended, as Virtuoso would."""

import hashlib
import hmac
import json
from typing import Annotated, Any

import typer

from cli.client import Client, Json
from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, print_json
from cli.settings import CliSettings

app = typer.Typer(help="Inbound webhooks.", no_args_is_help=True)
PATH = "/webhook/execution-complete"


@app.command()
def send(
    customer: Annotated[str, typer.Argument(help="Id of the customer.", show_default=False)],
    execution: Annotated[str, typer.Argument(help="Id of the execution.", show_default=False)],
    tenant: Annotated[
        str | None, typer.Option(help="Tenant whose secret (CADENZA_WEBHOOK_SECRET) signs it.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Say that an execution has ended, with the API key or, for a --tenant, with a signature."""
    secret = CliSettings().webhook_secret
    if tenant and not secret:
        raise Usage(
            "--tenant signs the webhook: set CADENZA_WEBHOOK_SECRET to the tenant's secret."
        )
    with gateway(url, api_key) as client:
        body = {"customerId": customer, "executionId": execution}
        answer = send_webhook(
            client, body, tenant=tenant, secret=secret.get_secret_value() if secret else None
        )
    if as_json:
        print_json(answer)
    else:
        console.print(f"accepted {answer.get('id') or answer.get('event_id') or ''}".strip())
    return PASSED


def send_webhook(
    client: Client, body: dict[str, Any], *, tenant: str | None, secret: str | None
) -> Json:
    """Post it; with a tenant's secret, signed over exactly the bytes that are sent."""
    raw = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if tenant and secret:
        headers["X-Cadenza-Tenant"] = tenant
        headers["X-Cadenza-Signature"] = signature(raw, secret)
    return client.post_bytes(PATH, raw, headers=headers)


def signature(raw: bytes, secret: str) -> str:
    """`sha256=` and the HMAC-SHA256 of the body, in hex."""
    return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
