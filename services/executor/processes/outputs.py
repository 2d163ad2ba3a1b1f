"""Reads what a process left in `$CADENZA_OUTPUT`: one JSON object per line, merged in order, the later value wins."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from shared.plans.json_values import unfaithful

MAX_BYTES = 1024 * 1024


class InvalidOutput(Exception):
    """The file breaks a rule; the message names the line."""


def read_outputs(path: Path) -> dict[str, Any]:
    """The outputs; empty when the process wrote none. Raises InvalidOutput."""
    outputs: dict[str, Any] = {}
    for number, line in enumerate(_contents(path).splitlines(), start=1):
        if line.strip():
            outputs.update(_parse(line, number))
    return outputs


def _contents(path: Path) -> bytes:
    """The process owns this place: a link or a device in it is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InvalidOutput(f"the output file cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InvalidOutput("the output file is not a regular file")
    with os.fdopen(handle, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InvalidOutput(f"the output file is larger than {MAX_BYTES} bytes")
    return data


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "not UTF-8 JSON"
        raise InvalidOutput(f"line {number} of the output file is not JSON: {why}") from None
    if not isinstance(value, dict):
        raise InvalidOutput(
            f'line {number} of the output file is not an object such as {{"key": 1}}'
        )
    wrong = unfaithful(value, "value")
    if wrong:
        raise InvalidOutput(
            f"line {number} of the output file: {wrong[0].field}: {wrong[0].message}"
        )
    return value
