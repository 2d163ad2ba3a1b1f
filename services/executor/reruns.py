"""The documents of a rerun: steps that are taken over begin as ended, with the outputs that were recorded. Pure.

Outputs that lie in the object store are referred to, not copied; retention leaves them there for as long as a step
refers to them. What is taken over never changes in the run that it comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from services.executor.bringing_tables import BroughtTable
from services.executor.commands.children import UnusableTable
from shared.events.run import Rerun
from shared.plans.lane_sets import lanes_in
from shared.work.ports import NewItem

_COPIED = ("input", "output", "output_uri", "exit_code", "truncated", "encrypted_fields")
"""Envelopes stay bound to the execution in which the step ran: `reused_from` says which."""
REUSED = "reused"


def as_rerun(
    item: NewItem,
    rerun: Rerun,
    recorded: Mapping[int, Mapping[str, Any]],
    sources: Sequence[Mapping[str, Any]] = (),
) -> NewItem:
    """The run as a rerun, with the files of the one before it when it takes steps over. One whose recorded steps are
    gone is rejected when it is claimed: to run them again without being asked to might do harm.
    """
    fields = {**item.fields, "rerun_of": rerun.of, "family_id": rerun.family}
    if rerun.lanes:
        taken = rerun.model_dump(include={"lanes", "lane_total", "table_sha256"})
        fields |= {"reused_lanes": taken.pop("lanes"), **taken}
    if sources and (rerun.reuse or rerun.lanes):
        fields["sources"] = [dict(record) for record in sources]  # from the start: as they are now
    missing = [number for number in rerun.reuse if number not in recorded]
    if missing:
        gone = f"step {missing[0]} of execution {rerun.of}, which it takes over, is no longer kept"
        return replace(item, fields={**fields, "unusable": gone})
    reuse = frozenset(rerun.reuse)
    children = [
        _taken_over(child, recorded[child["step_id"]], rerun.of)
        if child["step_id"] in reuse
        else child
        for child in item.children
    ]
    return replace(item, fields=fields, children=children)


def reused_lanes(document: Mapping[str, Any], table: BroughtTable) -> frozenset[int]:
    """The lanes that a rerun does not run. Raises UnusableTable when they were of another table."""
    taken = document.get("reused_lanes") or ()
    lanes = frozenset(chain.from_iterable(lanes_in(one["lanes"]) for one in taken))
    if lanes and (
        document.get("table_sha256") not in (None, table.sha256)
        or document.get("lane_total") != len(table.rows)
    ):
        raise UnusableTable(
            "the table is another one than that of the lanes that are taken over: rerun it "
            "from the start"
        )
    return lanes


def _taken_over(
    child: Mapping[str, Any], recorded: Mapping[str, Any], execution_id: str
) -> dict[str, Any]:
    """A step that completed is `reused`; one that the plan left out keeps its reason, which decides what follows."""
    completed = recorded["status"] == "completed"
    return {
        **child,
        **{name: recorded[name] for name in _COPIED if name in recorded},
        "status": recorded["status"],
        "reason": REUSED if completed else recorded.get("reason"),
        "reused_from": recorded.get("reused_from") or execution_id,
    }
