"""Plan files: YAML or JSON on disk, with the scripts beside them taken in.

The executor runs elsewhere and cannot see this machine's files, so a `script` step whose `path` lies beside the plan
is sent with its text. A path that is not there is left alone: an earlier step may make that file.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from cli.exits import Usage


def load_mapping(path: Path) -> dict[str, Any]:
    """What a YAML or JSON file holds. Raises Usage with the file's name."""
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise Usage(f"{path} is not valid YAML: {where}") from None
    if not isinstance(found, dict):
        raise Usage(f"{path} holds no plan: its top level must be a mapping.")
    return found


def load_plan(path: Path) -> dict[str, Any]:
    """The plan as it is submitted. Raises Usage with the file's name."""
    plan = load_mapping(path)
    for step in plan.get("steps") or []:
        if isinstance(step, dict) and isinstance(step.get("command"), dict):
            step["command"] = _with_text(step["command"], path.parent)
    return plan


def value(text: str) -> Any:
    """An input as typed: JSON where it is JSON (`3`, `true`, `{"a": 1}`), else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _with_text(command: dict[str, Any], folder: Path) -> dict[str, Any]:
    if command.get("type") != "script" or not isinstance(command.get("path"), str):
        return command
    script = folder / command["path"]
    if Path(command["path"]).is_absolute() or not script.is_file():
        return command
    rest = {name: given for name, given in command.items() if name != "path"}
    if "interpreter" not in rest and script.suffix == ".py":
        rest["interpreter"] = "python"
    return rest | {"source": script.read_text("utf-8")}
