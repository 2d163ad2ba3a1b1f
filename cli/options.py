"""Options that many commands share, and how they become a client."""

from typing import Annotated

import typer

from cli.client import Client
from cli.exits import Usage
from cli.settings import CliSettings

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Address of the gateway; else CADENZA_URL, else the sandbox.",
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        help="Key of the caller; else CADENZA_API_KEY, else the sandbox's.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON, for programs.")]
ExecutionId = Annotated[str, typer.Argument(help="Id of the execution.", show_default=False)]


def gateway(url: str | None, api_key: str | None) -> Client:
    """The gateway, from options or settings."""
    settings = CliSettings()
    return Client(url or settings.service("gateway"), api_key or settings.key())


def service(name: str, api_key: str | None = None) -> Client:
    """Another service."""
    settings = CliSettings()
    return Client(settings.service(name), api_key or settings.key())


def pairs(values: list[str] | None, *, option: str) -> dict[str, str]:
    """`["a=1", "b=2"]` → `{"a": "1", "b": "2"}`."""
    found = {}
    for value in values or []:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise Usage(f"{option} wants name=value, not '{value}'.")
        found[name] = text
    return found
