"""Writes `.env.example` from the settings classes: every variable, its meaning and its default.

`python -m cli.reference` writes it, with `--check` it writes nothing and exits 1 when it is stale.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from cli.settings import CliSettings
from sandbox.settings import SandboxSettings
from shared.settings import ServiceSettings

PATH = Path(__file__).resolve().parents[1] / ".env.example"
SERVICES = ("gateway", "executor", "extractor", "proxy", "scanner")
HEAD = """\
# Every variable that Cadenza reads, with its default. Written by `make docs`; do not edit.
# A service reads the shared groups and the group of its own name. Lists and objects are JSON.
"""


def render() -> str:
    """The whole file."""
    lines = [HEAD]
    for name, field in ServiceSettings.model_fields.items():
        lines += _group(name, field)
    for service in SERVICES:
        module = importlib.import_module(f"services.{service}.settings")
        settings = getattr(module, f"{service.capitalize()}Settings")
        lines += _group(service, settings.model_fields[service])
    lines += _flat("The sandbox", "SANDBOX__", SandboxSettings)
    lines += _flat("The command line", "CADENZA_", CliSettings)
    return "\n".join(lines)


def _group(name: str, field: FieldInfo) -> Iterator[str]:
    model = cast("type[BaseModel]", field.annotation)
    yield f"# --- {name}: {_sentence(model.__doc__)}"
    for key, inner in model.model_fields.items():
        yield from _variable(f"{name}__{key}".upper(), inner)
    yield ""


def _flat(title: str, prefix: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"# --- {title}"
    for key, field in model.model_fields.items():
        if field.validation_alias is None:  # else it is a variable of a group above
            yield from _variable(f"{prefix}{key}".upper(), field)
    yield ""


def _variable(name: str, field: FieldInfo) -> Iterator[str]:
    if field.description:
        yield f"# {_sentence(field.description)}"
    yield f"#{name}={_default(field)}"


def _default(field: FieldInfo) -> str:
    """What stands there when the variable is not set; nothing where it depends on the machine."""
    if field.default_factory is not None or field.is_required():
        return ""
    return _text(field.default)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return value.get_secret_value()
        case bool() | dict() | list() | tuple():
            return json.dumps(value)
        case Path():
            # Where temporary files lie differs from machine to machine.
            return str(value).replace(tempfile.gettempdir(), "/tmp")  # noqa: S108
        case _:
            return str(value)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def main(argv: Sequence[str]) -> int:
    """Write, or with `--check` compare."""
    text = render()
    if PATH.exists() and PATH.read_text("utf-8") == text:
        return 0
    if "--check" in argv:
        print(f"stale: {PATH.name} (make docs)")
        return 1
    PATH.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
