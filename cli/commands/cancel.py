"""`cadenza cancel`: end a run."""

from typing import Annotated

import typer

from cli.exits import PASSED
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway
from cli.output import console, print_json


def cancel(
    execution_id: ExecutionId,
    reason: Annotated[str | None, typer.Option(help="For people; kept with the run.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Cancel a queued or running run."""
    with gateway(url, api_key) as client:
        body = {"reason": reason} if reason else {}
        answer = client.post(f"/v1/executions/{execution_id}/cancel", body)
    if as_json:
        print_json(answer)
    else:
        console.print(f"cancelling {execution_id}")
    return PASSED
