"""One operation of AWS by the `aws` program, whose JSON becomes the step's outputs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from services.executor.commands.base import Command, CommandContext, Outcome, Params
from services.executor.commands.capture import Capture
from shared.plans.json_values import unfaithful

INSTALL = (
    "install it with `pip install awscli` (or AWS CLI version 2) on the executor's machine, or say "
    "where it is with EXECUTOR__AWS_PROGRAM"
)
_REASONS = {252: "invalid_arguments", 253: "credentials_missing", 254: "upstream_error"}
"""What version 2 means by its exit codes. Version 1 ends most of them with 255, and says the same."""
_SAID = (
    ("An error occurred (", "upstream_error"),
    ("Unable to locate credentials", "credentials_missing"),
    ("The config profile (", "credentials_missing"),
    ("Could not connect to the endpoint", "connection_refused"),
    ("Connect timeout on endpoint", "upstream_timeout"),
    ("Read timeout on endpoint", "upstream_timeout"),
    ("Connection was closed before we received", "upstream_error"),
    ("SSL validation failed", "tls_failed"),
)

Value = str | int | float | bool | None | list[Any] | dict[str, Any]


class AwsCliParams(Params):
    """Run an operation of the AWS command line."""

    service: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)
    """Such as `s3api`, `ec2`, `sts`."""
    operation: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=128)
    """Such as `list-buckets`."""
    args: list[str] | dict[str, Value] = Field(default=[])
    """A list of words, or a mapping: `max_items: 5` is `--max-items 5`, true is the bare option, false the one with
    `no-`, null leaves it out, a list of plain values is several words, everything else is handed over as JSON."""
    profile: str | None = Field(None, min_length=1, max_length=128)
    """A profile of the AWS configuration, which is found by `AWS_CONFIG_FILE` or in `.aws` of the working directory."""
    region: str | None = Field(None, pattern=r"^[a-z]{2}[a-z0-9-]{1,30}$")
    """None: that of the profile or of `AWS_REGION`."""
    endpoint_url: str | None = Field(None, pattern=r"^https?://[^\s]+$", max_length=2048)
    """Another server than AWS itself; None: the executor's (`EXECUTOR__AWS_ENDPOINT_URL`), if it has one."""
    output: Literal["json", "text"] = "json"
    """`json`: what it prints must be JSON and becomes the outputs (a list as `items`, a plain value as `value`);
    `text`: it stays text, in the log."""


class AwsCli(Command[AwsCliParams]):
    """Runs `aws service operation args`. Credentials come from the step's `env` or its profile, never from the machine
    that the executor runs on (unless the step sets `AWS_EC2_METADATA_DISABLED: "false"`).
    """

    type = "aws_cli"
    params = AwsCliParams

    async def run(self, params: AwsCliParams, ctx: CommandContext) -> Outcome:
        printed = Capture(ctx.emit, limit=ctx.limits.output_bytes)
        asked = ["--output", params.output, params.service, params.operation]
        outcome = await ctx.processes.run(
            [ctx.reach.aws.program, *asked, *words(params.args)],
            replace(ctx, emit=printed),
            env=_environment(params, ctx),
        )
        if outcome.reason == "program_missing":
            return replace(outcome, error=f"there is no `aws` program: {INSTALL}")
        if outcome.reason == "nonzero_exit":
            return _explained(outcome, printed.stderr)
        if outcome.status != "completed" or params.output == "text":
            return outcome
        return _parsed(outcome, printed.stdout)


def words(args: list[str] | dict[str, Value]) -> list[str]:
    """The command line of the arguments."""
    if isinstance(args, list):
        return args
    return [word for name, value in args.items() for word in _option(name, value)]


def _option(name: str, value: Value) -> Iterator[str]:
    option = name.replace("_", "-").lstrip("-")
    match value:
        case None:
            return
        case bool():
            yield f"--{'' if value else 'no-'}{option}"
        case list() if value and all(isinstance(item, str | int | float) for item in value):
            yield f"--{option}"
            yield from map(_word, value)
        case _:
            yield f"--{option}"
            yield _word(value)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(params: AwsCliParams, ctx: CommandContext) -> dict[str, str]:
    given = {
        "AWS_PROFILE": params.profile,
        "AWS_REGION": params.region,
        "AWS_DEFAULT_REGION": params.region,
        "AWS_ENDPOINT_URL": params.endpoint_url or ctx.reach.aws.endpoint_url,
        "AWS_PAGER": "",
    }
    env = {name: value for name, value in given.items() if value is not None}
    # The machine's own role is the executor's, not the step's; whoever wants it says so.
    return {"AWS_EC2_METADATA_DISABLED": ctx.env.get("AWS_EC2_METADATA_DISABLED", "true"), **env}


def _explained(outcome: Outcome, stderr: str) -> Outcome:
    """What the program said, with the reason that its exit code stands for."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = lines[-1] if lines else outcome.error
    by_words = (reason for words, reason in _SAID if words in (said or ""))
    reason = next(by_words, _REASONS.get(outcome.exit_code or 0, "nonzero_exit"))
    if outcome.exit_code == 2 and "usage: aws " in stderr:
        reason = "invalid_arguments"
    return replace(outcome, reason=reason, error=said and said[:1000])


def _parsed(outcome: Outcome, stdout: str) -> Outcome:
    if outcome.stdout_truncated:
        return _unusable(outcome, "it printed more than is kept")
    try:
        value = json.loads(stdout) if stdout.strip() else {}
    except (ValueError, RecursionError):
        return _unusable(outcome, "what it printed is not JSON; `output: text` leaves it as it is")
    if not isinstance(value, dict):
        value = {"items" if isinstance(value, list) else "value": value}
    if wrong := unfaithful(value, "output"):
        return _unusable(outcome, f"{wrong[0].field}: {wrong[0].message}")
    return replace(outcome, outputs={**value, **outcome.outputs})


def _unusable(outcome: Outcome, why: str) -> Outcome:
    return replace(outcome, status="failed", reason="invalid_output", error=why)
