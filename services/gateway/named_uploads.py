"""Which uploads a plan names: as sources, as its table of rows, and in the plans within it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.plans.subplans import TYPE


def named_in(plan: Any, prefix: str = "plan") -> Iterator[tuple[str, str]]:
    """Field and SHA-256 of each, of a plan as its author wrote it. It has been validated."""
    if not isinstance(plan, Mapping):
        return
    for place, source in enumerate(plan.get("sources") or ()):
        if source.get("type") == "upload":
            yield f"{prefix}.sources[{place}].sha256", source["sha256"]
    data = plan.get("data")
    if isinstance(data, Mapping) and "upload" in data:
        yield f"{prefix}.data.upload", data["upload"]
    for place, step in enumerate(plan.get("steps") or ()):
        command = step["command"]
        if command.get("type") == TYPE:
            yield from named_in(command.get("plan"), f"{prefix}.steps[{place}].command.plan")
