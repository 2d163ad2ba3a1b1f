"""Local files that become objects."""

from pathlib import Path
from typing import BinaryIO

from shared.errors import InvalidRequest


def open_source(path: str) -> BinaryIO:
    """The file, open for reading. Raises InvalidRequest when there is none."""
    try:
        return Path(path).open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise InvalidRequest(f"there is no file '{path}' to store") from None
