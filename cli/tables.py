"""Tables of rows on disk: `data: {file: customers.csv}` in a plan file, or `--data`. They are uploaded, and the plan
that is submitted names the upload.
"""

import hashlib
from pathlib import Path
from typing import Any

from cli.client import Client, Json
from cli.exits import Usage


def with_table(
    plan: Json, folder: Path, *, client: Client | None, data: Path | None = None
) -> dict[str, Any]:
    """The plan with its table as an upload, if it has one on this machine; it is sent when there is a `client`.

    `data` replaces what the plan says. Raises Usage with the file's name.
    """
    said = {"file": str(data.resolve())} if data is not None else plan.get("data")
    if not isinstance(said, dict) or "file" not in said:
        return plan
    if unknown := set(said) - {"file", "format"}:
        raise Usage(f"data: a file has no '{min(unknown)}'; it takes file and format.")
    path = folder / str(said["file"])
    format_ = said.get("format") or ("json" if path.suffix == ".json" else "csv")
    return {**plan, "data": {"upload": _sent(client, path), "format": format_}}


def _sent(client: Client | None, path: Path) -> str:
    try:
        with path.open("rb") as file:
            if client is None:
                return hashlib.file_digest(file, "sha256").hexdigest()
            return str(client.post_file("/v1/uploads", file, name=path.name)["sha256"])
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}.") from None
