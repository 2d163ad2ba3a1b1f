"""What a chaos run found, as data and as a page for people. No path and no name of the machine is in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sandbox.chaos.assault import Wound
from sandbox.chaos.evidence import Evidence
from sandbox.chaos.load import LOST, Planned

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the report tells."""

    seed: int
    asked: Mapping[str, int]
    """`runs`, `webhooks`, `seconds` as they were asked for."""
    planned: Mapping[str, Planned]
    evidence: Evidence
    wounds: Sequence[Wound]
    broken: Sequence[str]
    extracted: int
    asked_again: int
    load_seconds: float
    rest_seconds: float
    """From the end of the load and of the killing until all had come to rest."""


def as_json(found: Findings) -> Json:
    return {
        "seed": found.seed,
        "asked": dict(found.asked),
        "passed": not found.broken,
        "broken": list(found.broken),
        "accepted_runs": len(found.planned),
        "extracted": found.extracted,
        "requests_repeated": found.asked_again,
        "ends": _ends(found),
        "repeats": _repeats(found.evidence),
        "load_seconds": round(found.load_seconds, 1),
        "rest_seconds": round(found.rest_seconds, 1),
        "kills": [_kill(wound) for wound in found.wounds],
        "recovery": _recovery(found.wounds),
    }


def as_markdown(data: Json) -> str:
    """The same for people."""
    done = [kill for kill in data["kills"] if kill["ready"] is not None or kill["progress"]]
    verdict = "Every promise was kept." if data["passed"] else "**Promises were broken.**"
    lines = [
        f"# Chaos run, seed {data['seed']}",
        "",
        (
            f"{verdict} {data['accepted_runs']} runs and {data['extracted']} extractions, "
            f"{len(done)} kills in {data['load_seconds']} s of load; all had come to rest "
            f"{data['rest_seconds']} s after it. Callers had to ask again "
            f"{data['requests_repeated']} times."
        ),
        "",
    ]
    if data["broken"]:
        lines += ["## Broken", "", *(f"- {one}" for one in data["broken"][:200]), ""]
    lines += ["## How the runs ended", "", "| kind | end | runs |", "|---|---|---:|"]
    lines += [f"| {row['kind']} | {row['end']} | {row['runs']} |" for row in data["ends"]]
    lines += ["", "## Repeats and their causes", "", "| what | times |", "|---|---:|"]
    lines += [f"| {what} | {times} |" for what, times in data["repeats"].items()]
    lines += ["", "## Recovery", "", "Seconds after the kill, median and longest.", ""]
    lines += ["| part | kills | answers again | something ends again |", "|---|---:|---|---|"]
    lines += [
        f"| {part} | {row['kills']} | {_span(row['ready'])} | {_span(row['progress'])} |"
        for part, row in data["recovery"].items()
    ]
    lines += ["", "## Schedule", ""]
    lines += ["| at | part | signal | answers again | something ends again | remark |"]
    lines += ["|---:|---|---|---:|---:|---|"]
    lines += [
        f"| {kill['at']} s | {kill['part']} | {kill['signal']} | {_or_dash(kill['ready'])} | "
        f"{_or_dash(kill['progress'])} | {kill['trouble'] or ''} |"
        for kill in data["kills"]
    ]
    return "\n".join([*lines, ""])


def _ends(found: Findings) -> list[Json]:
    counts: Counter[tuple[str, str]] = Counter()
    for id_, planned in found.planned.items():
        document = found.evidence.executions.get(id_)
        end = "missing" if document is None else str(document.get("status", "no run"))
        if document is not None and (end, document.get("reason")) == LOST:
            end = "failed(lost_worker), after three recoveries"
        counts[planned.kind, end] += 1
    return [
        {"kind": kind, "end": end, "runs": runs} for (kind, end), runs in sorted(counts.items())
    ]


def _repeats(evidence: Evidence) -> dict[str, int]:
    """What was done or told more than once, by cause."""
    told = [row for rows in evidence.events.values() for row in rows]
    changes = [row["id"] for row in told if row["type"] not in ("step.log", "step.progress")]
    tries = Counter(
        str(attempt.get("status"))
        for steps in evidence.steps.values()
        for step in steps
        for attempt in step.get("attempts") or ()
    )
    requeued = Counter(
        str((change.get("data") or {}).get("reason"))
        for document in evidence.executions.values()
        for change in document.get("transitions", ())
        if change["type"] == "run.requeued"
    )
    return {
        "tries of steps that were lost with their worker": tries["lost"],
        **{f"runs queued again: {reason}": times for reason, times in sorted(requeued.items())},
        "events sent again under the same id": len(changes) - len(set(changes)),
    }


def _kill(wound: Wound) -> Json:
    return {
        "at": wound.at,
        "part": wound.kill.target,
        "signal": wound.kill.signal.name,
        "ready": wound.ready,
        "progress": wound.progress,
        "trouble": wound.trouble,
    }


def _recovery(wounds: Sequence[Wound]) -> dict[str, Json]:
    parts = sorted({wound.kill.target for wound in wounds if wound.ready is not None})
    return {
        part: {
            "kills": len(own),
            "ready": _numbers([one.ready for one in own]),
            "progress": _numbers([one.progress for one in own]),
        }
        for part in parts
        if (own := [one for one in wounds if one.kill.target == part and one.ready is not None])
    }


def _numbers(values: Sequence[float | None]) -> Json:
    known = [value for value in values if value is not None]
    return {"median": round(median(known), 2), "longest": max(known)} if known else {}


def _span(numbers: Json) -> str:
    return f"{numbers['median']} / {numbers['longest']}" if numbers else "-"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
