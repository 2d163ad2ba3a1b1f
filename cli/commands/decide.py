"""`cadenza approve`, `cadenza reject`, `cadenza tell`: what runs wait for."""

import json
from typing import Annotated, Any

import typer

from cli.exits import PASSED, CliError
from cli.options import ApiKey, AsJson, ExecutionId, Url, gateway
from cli.output import console, print_json

StepName = Annotated[str, typer.Argument(help="The step's name, or its number.")]
Comment = Annotated[str | None, typer.Option(help="For people; kept with the step.")]


def approve(
    execution_id: ExecutionId,
    step: StepName,
    comment: Comment = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Approve a step that waits for it."""
    return _decide("approve", execution_id, step, comment, url, api_key, as_json=as_json)


def reject(
    execution_id: ExecutionId,
    step: StepName,
    comment: Comment = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Reject a step that waits for approval."""
    return _decide("reject", execution_id, step, comment, url, api_key, as_json=as_json)


def tell(
    key: Annotated[str, typer.Argument(help="The key that steps wait for.")],
    data: Annotated[str, typer.Option(help="JSON object; becomes their outputs.")] = "{}",
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Tell an event to the steps that wait for it."""
    with gateway(url, api_key) as client:
        answer = client.post(f"/v1/events/{key}", _object(data))
    if as_json:
        print_json(answer)
    else:
        console.print(f"told {key}", markup=False)
    return PASSED


def _decide(
    verdict: str,
    execution_id: str,
    step: str,
    comment: str | None,
    url: str | None,
    api_key: str | None,
    *,
    as_json: bool,
) -> int:
    body = {"comment": comment} if comment else {}
    with gateway(url, api_key) as client:
        answer = client.post(f"/v1/executions/{execution_id}/steps/{step}/{verdict}", body)
    if as_json:
        print_json(answer)
    else:
        said = {"approve": "approved", "reject": "rejected"}[verdict]
        console.print(f"{said} {answer['step_name']} of {execution_id}", markup=False)
    return PASSED


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CliError(f"--data is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CliError("--data must be a JSON object")
    return value
