"""Writes down the command models: `shared/plans/command_types.json`, and a page each under `docs/reference/commands/`.

python -m services.executor.commands.reference            write
python -m services.executor.commands.reference --check    say what is out of date, exit 1
"""

import json
import sys
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

from services.executor.commands.base import Command
from services.executor.commands.registry import build_registry

ROOT = Path(__file__).parents[3]
SCHEMAS = Path("shared/plans/command_types.json")
PAGES = Path("docs/reference/commands")


def schema(command: Command[Any]) -> dict[str, Any]:
    """The JSON Schema of the whole `command` object of a step."""
    out: dict[str, Any] = _without_titles(command.params.model_json_schema())
    out["properties"] = {"type": {"const": command.type}, **out.get("properties", {})}
    out["required"] = ["type", *out.get("required", [])]
    return out


def page(command: Command[Any]) -> str:
    """The reference page of a command type."""
    model = command.params
    lines = [
        f"# `{command.type}`",
        "",
        (model.__doc__ or "").strip(),
        "",
        cleandoc(command.__doc__ or ""),
    ]
    lines += ["", "| argument | type | default | meaning |", "|---|---|---|---|"]
    properties = schema(command)["properties"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_default(properties[name])}`"
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{name}` | {_type(properties[name])} | {default} | {meaning} |")
    if details := command.details():
        lines += ["", details]
    return "\n".join([*lines, ""])


def files() -> dict[Path, str]:
    """Everything that is generated, by path from the root of the repository."""
    commands = [command for command in build_registry() if not command.internal]
    schemas = {command.type: schema(command) for command in commands}
    out = {SCHEMAS: json.dumps(schemas, indent=2, ensure_ascii=False) + "\n"}
    out |= {PAGES / f"{command.type}.md": page(command) for command in commands}
    out[PAGES / "index.md"] = _index(commands)
    return out


def main(argv: Sequence[str]) -> int:
    """Write, or with `--check` compare. Exit code 1: something is out of date."""
    stale = {path: text for path, text in files().items() if _read(ROOT / path) != text}
    if "--check" in argv:
        for path in stale:
            print(f"out of date: {path} (python -m services.executor.commands.reference)")  # noqa: T201
        return 1 if stale else 0
    for path, text in stale.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    return 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _index(commands: Sequence[Command[Any]]) -> str:
    rows = [
        f"| [`{command.type}`]({command.type}.md) | {(command.params.__doc__ or '').strip()} |"
        for command in commands
    ]
    head = ["# Command types", "", "Generated from the command models; do not edit.", ""]
    return "\n".join([*head, "| type | what it does |", "|---|---|", *rows, ""])


def _without_titles(value: Any) -> Any:
    """Pydantic repeats every name as a title; nobody reads them."""
    if isinstance(value, dict):
        return {
            key: _without_titles(item)
            for key, item in value.items()
            if not (key == "title" and isinstance(item, str))
        }
    return [_without_titles(item) for item in value] if isinstance(value, list) else value


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        return "object"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    return str(field.get("type", "any"))


def _default(field: Mapping[str, Any]) -> str:
    empty: Any = {"array": [], "object": {}}.get(str(field.get("type")))
    return json.dumps(field.get("default", empty))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
