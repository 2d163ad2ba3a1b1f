"""The sandbox's own encryption key: made at the first start, kept beside the data that it encrypts."""

import base64
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

FILE = "encryption-key"
KEY_ID = "sandbox"


def encryption_keys(folder: Path) -> str:
    """The value of SECURITY__ENCRYPTION_KEYS for the sandbox in this folder; the same every time."""
    path = folder / FILE
    if not path.exists():
        _make(path)
    return json.dumps({KEY_ID: path.read_text().strip()})


def _make(path: Path) -> None:
    """Whole or not at all, also when two processes make it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    mine.touch(mode=0o600)
    mine.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    with suppress(FileExistsError):  # another was quicker
        os.link(mine, path)
    mine.unlink()
