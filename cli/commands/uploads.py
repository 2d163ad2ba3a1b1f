"""`cadenza upload` and `cadenza uploads`: files for runs, known by the SHA-256 of their bytes."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer

from cli.archives import DEFAULT_EXCLUDES, pack_folder
from cli.client import Client, Json
from cli.exits import PASSED, Usage
from cli.options import ApiKey, AsJson, Url, gateway
from cli.output import console, moment, print_json, size, table

app = typer.Typer(help="Files that were uploaded for runs.", no_args_is_help=True)
Sha256 = Annotated[str, typer.Argument(help="SHA-256 of the upload.", show_default=False)]


def upload(
    path: Annotated[Path, typer.Argument(help="A folder, or a file.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="For people; else the path's own.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Leave out files and folders of this name (* allowed)."),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Upload a folder (as tar.gz) or a file; plans name it by the SHA-256 that is printed.

    The same content gives the same SHA-256 and is sent again only to be kept for longer.
    """
    named = name or path.resolve().name
    with gateway(url, api_key) as client:
        if path.is_dir():
            with NamedTemporaryFile(suffix=".tar.gz") as packed:
                pack_folder(path, packed, exclude=[*DEFAULT_EXCLUDES, *(exclude or ())])
                answer = _send(client, Path(packed.name), f"{named}.tar.gz")
        else:
            answer = _send(client, path, named)
    if as_json:
        print_json(answer)
        return PASSED
    console.print(f"uploaded {named} ({size(answer['size_bytes'])}); in a plan:", soft_wrap=True)
    console.print("sources:\n  - type: upload", f"    sha256: {answer['sha256']}", sep="\n")
    return PASSED


@app.command("list")
def list_(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> int:
    """Uploads, newest first."""
    with gateway(url, api_key) as client:
        found = list(client.items("/v1/uploads"))
    if as_json:
        print_json({"items": found})
        return PASSED
    rows = (
        (u["sha256"], u.get("name") or "", size(u["size_bytes"]), moment(u["created_at"]), moment(u["expires_at"]))
        for u in found
    )  # fmt: skip
    console.print(table(None, ("sha256", "name", "size", "uploaded", "kept until"), rows))
    return PASSED


@app.command()
def delete(sha256: Sha256, url: Url = None, api_key: ApiKey = None) -> int:
    """Delete an upload; runs that still name it fail."""
    with gateway(url, api_key) as client:
        client.delete(f"/v1/uploads/{sha256}")
    console.print(f"upload {sha256} is deleted")
    return PASSED


def _send(client: Client, path: Path, name: str) -> Json:
    try:
        with path.open("rb") as file:
            return client.post_file("/v1/uploads", file, name=name)
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}.") from None
