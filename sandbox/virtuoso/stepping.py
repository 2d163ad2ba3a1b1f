"""From the step that a client writes (`parsedStep`) to the step that is read back, and what the API refuses."""

import re
from typing import Any

from sandbox.virtuoso.answers import Json, bad_command, bad_variable
from sandbox.virtuoso.world import canonical_id

PLAIN = (
    *("NAVIGATE", "CLICK", "WRITE", "PICK", "MOUSE", "SCROLL", "WAIT", "STORE", "API_CALL"),
    *("ENVIRONMENT", "DISMISS", "SWITCH", "WINDOW", "UPLOAD", "COMMENT"),
    *("ASSERT_VARIABLE", "EXECUTE"),
)
"""Actions whose `meta.kind` is their own name."""
ASSERTS = (
    *("ASSERT_EXISTS", "ASSERT_NOT_EXISTS", "ASSERT_CHECKED", "ASSERT_EQUALS", "ASSERT_NOT_EQUALS"),
    *("ASSERT_SELECTED", "ASSERT_MATCHES", "ASSERT_GREATER_THAN", "ASSERT_GREATER_THAN_OR_EQUAL"),
    *("ASSERT_LESS_THAN", "ASSERT_LESS_THAN_OR_EQUAL"),
)
KINDS = (
    dict(zip(PLAIN, PLAIN, strict=True)) | dict.fromkeys(ASSERTS, "ASSERT") | {"KEY": "KEYBOARD"}
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")


def stored_step(parsed: Any, id: int) -> Json:
    """The step as it will be read back. Raises the API's own refusals."""
    if not isinstance(parsed, dict):
        raise bad_command()
    step: Json = {
        "id": id,
        "canonicalId": canonical_id("step", id),
        "action": _action(parsed),
        "meta": _meta(parsed),
        "optional": bool(parsed.get("optional", False)),
        "value": _value(parsed),
        "ignoreOutcome": bool(parsed.get("ignoreOutcome", False)),
        "skip": bool(parsed.get("skip", False)),
    }
    if parsed.get("variable"):
        step["variable"] = _variable(parsed["variable"])
    if parsed.get("expression"):
        step["expression"] = str(parsed["expression"])
    selectors = _selectors(parsed)
    if selectors:
        step["element"] = {"id": id * 10, "target": {"kind": "TARGET", "selectors": selectors}}
    return step


def _action(parsed: Json) -> str:
    action = parsed.get("action")
    if not isinstance(action, str) or action not in KINDS:
        raise bad_command()
    if action == "NAVIGATE" and "url" in (parsed.get("target") or {}):
        raise bad_command()
    return action


def _meta(parsed: Json) -> Json:
    meta = parsed.get("meta") or {}
    if not isinstance(meta, dict):
        raise bad_command()
    return {"kind": KINDS[parsed["action"]], **meta}


def _value(parsed: Json) -> str:
    value = parsed.get("value")
    if value is not None and not isinstance(value, str):
        raise bad_command()
    return value or ""


def _variable(name: Any) -> str:
    if not isinstance(name, str) or not VARIABLE.fullmatch(name):
        raise bad_variable()
    return name


def _selectors(parsed: Json) -> list[Json]:
    """Clients put the target at the top or, for some actions, under `element`."""
    target = parsed.get("target") or (parsed.get("element") or {}).get("target") or {}
    selectors = target.get("selectors", []) if isinstance(target, dict) else None
    if not isinstance(selectors, list) or not all(isinstance(one, dict) for one in selectors):
        raise bad_command()
    return selectors
