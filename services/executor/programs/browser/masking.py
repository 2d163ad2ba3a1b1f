"""Masks secrets in a trace: what was typed stands in it in plain text."""

import zipfile
from pathlib import Path

from shared.security.redaction import Redactor

MAX_TEXT_BYTES = 64 * 1024 * 1024
_PICTURES = (".jpeg", ".jpg", ".png", ".webp", ".gif", ".woff", ".woff2")


def mask_zip(source: Path, target: Path, secrets: tuple[str, ...]) -> None:
    """A copy of the archive in which no text holds a secret. Pictures stay as they are."""
    redactor = Redactor(secrets)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if not entry.filename.endswith(_PICTURES) and len(data) <= MAX_TEXT_BYTES:
                data = redactor.mask_known(data)
            new.writestr(entry.filename, data)
