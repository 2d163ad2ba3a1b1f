"""`cadenza webhook send` and `seven-ps`: tell the platform that something has ended, as Virtuoso or 7PS would."""

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
SEVEN_PS_PATH = "/webhook/seven-ps"
Tenant = Annotated[
    str | None, typer.Option(help="Tenant whose secret (CADENZA_WEBHOOK_SECRET) signs it.")
]


@app.command()
def send(
    customer: Annotated[str, typer.Argument(help="Id of the customer.", show_default=False)],
    execution: Annotated[str, typer.Argument(help="Id of the execution.", show_default=False)],
    tenant: Tenant = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Say that an execution has ended, with the API key or, for a --tenant, with a signature."""
    body = {"customerId": customer, "executionId": execution}
    return _send(PATH, body, tenant=tenant, url=url, api_key=api_key, as_json=as_json)


@app.command("seven-ps")
def seven_ps(
    job: Annotated[str, typer.Argument(help="Id of the job.", show_default=False)],
    tenant: Tenant = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Say that a job of 7PS has ended, with the API key or, for a --tenant, with a signature."""
    body = {"executionId": job}
    return _send(SEVEN_PS_PATH, body, tenant=tenant, url=url, api_key=api_key, as_json=as_json)


def _send(
    path: str,
    body: dict[str, Any],
    *,
    tenant: str | None,
    url: str | None,
    api_key: str | None,
    as_json: bool,
) -> int:
    secret = CliSettings().webhook_secret
    if tenant and not secret:
        raise Usage(
            "--tenant signs the webhook: set CADENZA_WEBHOOK_SECRET to the tenant's secret."
        )
    with gateway(url, api_key) as client:
        key = secret.get_secret_value() if secret else None
        answer = send_webhook(client, body, tenant=tenant, secret=key, path=path)
    if as_json:
        print_json(answer)
    else:
        console.print(f"accepted {answer.get('id') or answer.get('event_id') or ''}".strip())
    return PASSED


def send_webhook(
    client: Client,
    body: dict[str, Any],
    *,
    tenant: str | None,
    secret: str | None,
    path: str = PATH,
) -> Json:
    """Post it; with a tenant's secret, signed over exactly the bytes that are sent."""
    raw = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if tenant and secret:
        headers["X-Cadenza-Tenant"] = tenant
        headers["X-Cadenza-Signature"] = signature(raw, secret)
    return client.post_bytes(path, raw, headers=headers)


def signature(raw: bytes, secret: str) -> str:
    """`sha256=` and the HMAC-SHA256 of the body, in hex."""
    return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
