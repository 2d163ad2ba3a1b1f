"""`cadenza secrets`: what runs may use and nobody may read.

A value never stands on the command line, where other users of the machine and the shell's history would see it: it
comes from a prompt, from standard input or from a file.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, moment, print_json, table

app = typer.Typer(help="Secrets that runs may use and nobody may read.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]


@app.command("set")
def set_(
    name: Name,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Read the value from this file, to the last byte."),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Set or replace a secret. The value is asked for, or read from standard input (without its last line break)."""
    value = _from_file(file) if file else _typed(name)
    with gateway(url, api_key) as client:
        answer = client.put(f"/v1/secrets/{name}", {"value": value})
    if as_json:
        print_json(answer)
    else:
        console.print(f"secret {name} is set (version {answer['version']})")
    return PASSED


@app.command("list")
def list_(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """Names, versions and who changed them last. Values are never shown."""
    with gateway(url, api_key) as client:
        found = list(client.items("/v1/secrets"))
    if as_json:
        print_json({"items": found})
        return PASSED
    rows = ((s["name"], s["version"], moment(s["updated_at"]), s["updated_by"]) for s in found)
    console.print(table(None, ("secret", "version", "changed", "by"), rows))
    return PASSED


@app.command()
def delete(name: Name, url: Url = None, api_key: ApiKey = None) -> int:
    """Delete a secret; runs that still name it fail at that step."""
    with gateway(url, api_key) as client:
        client.delete(f"/v1/secrets/{name}")
    console.print(f"secret {name} is deleted")
    return PASSED


def _typed(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True))
    text = sys.stdin.read()
    return text.removesuffix("\n").removesuffix("\r")


def _from_file(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Usage(f"{path} is no text: store it in base64, and decode it in the step.") from None
