"""Schema drift: what an answer looks like after the vendor changed it without saying so."""

from typing import Any

from sandbox.virtuoso.answers import Json

LOST = ("tags", "capabilities", "deviceSize")
RETYPED = ("duration", "snapshotId")


def drifted(answer: Any) -> Any:
    """The answer with a field more, one less and a number that became text, at the level of the thing itself."""
    if not isinstance(answer, dict):
        return answer
    inner = answer.get("item")
    if isinstance(inner, dict) and answer.get("success") is True:
        return answer | {"item": _changed(inner)}
    return _changed(answer)


def _changed(thing: Json) -> Json:
    lost = next((name for name in LOST if name in thing), None)
    changed = {key: value for key, value in thing.items() if key != lost}
    for name in RETYPED:
        if name in changed:
            changed[name] = str(changed[name])
            break
    return changed | {"driftMarker": {"since": "2.0"}}
