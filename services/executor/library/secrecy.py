"""Which secrets a request carries: values of variables and flags that are named like secrets."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.plans.references import strings_in
from shared.security.redaction import Redactor, is_secret_name

_FLAG = re.compile(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=|\s+)(\"[^\"]+\"|'[^']+'|[^\s\"'-][^\s\"']*)")
_ASSIGNMENT = re.compile(r"\b([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]+\"|'[^']+'|[^\s\"'$]+)")


def redactor_for(command: Mapping[str, Any], env: Mapping[str, str]) -> Redactor:
    """Knows the secret values of this request."""
    secrets = {value for name, value in env.items() if is_secret_name(name)}
    return Redactor(secrets | set(_in_command(command)))


def display_text(command: Mapping[str, Any], redactor: Redactor) -> str:
    """The command as people read it, secrets masked."""
    words = [
        text for name, value in command.items() if name != "type" for text in strings_in(value)
    ]
    return redactor.redact(" ".join(words) or str(command.get("type", "")))


def _in_command(command: Mapping[str, Any]) -> Iterator[str]:
    text = " ".join(strings_in(dict(command)))
    for found in (*_FLAG.finditer(text), *_ASSIGNMENT.finditer(text)):
        if is_secret_name(found[1].replace("-", "_")):
            yield found[2].strip("\"'")
