"""What a run that was put aside waits for, in words: told by the keys of the wakes that would get it up again.

Executors name a wake by what happens, `approval/…, event/…, children/…, seven_ps/…, virtuoso/…`; a run without keys
sleeps until a certain time, such as before the next try of a step.
"""

from collections.abc import Sequence

MOST_NAMED = 3
UNKNOWN = "something outside"


def awaited(wake_keys: Sequence[str]) -> str:
    """Such as `waits for an approval, the event 'stock'`; each thing once."""
    things = list(dict.fromkeys(map(_thing, wake_keys))) or [UNKNOWN]
    more = f" and {len(things) - MOST_NAMED} more" if len(things) > MOST_NAMED else ""
    return f"waits for {', '.join(things[:MOST_NAMED])}{more}"


def _thing(key: str) -> str:
    kind, _, rest = key.partition("/")
    match kind:
        case "approval":
            return "an approval"
        case "event":
            return f"the event '{rest}'"
        case "children":
            return "its lanes or sub-plan"
        case "seven_ps":
            return f"job {rest} of 7PS"
        case "virtuoso":
            return f"execution {rest.rpartition('/')[2]} of Virtuoso"
    return UNKNOWN
