"""What must hold of every accepted run once all has come to rest, whatever was killed meanwhile. Pure.

`broken` answers with one sentence per broken promise, naming the execution; nothing broken, nothing said.
"""

from collections.abc import Iterator, Mapping, Sequence

from sandbox.chaos.evidence import Document, Evidence
from sandbox.chaos.load import LOST, Planned
from shared.mongo.changes import KEPT_TRANSITIONS
from shared.views.executions import FINAL
from shared.work.events import event_id
from shared.work.ports import SEQUENCE_BITS

NOT_A_CHANGE = ("step.log", "step.progress")
STEP_FINAL = (*FINAL, "skipped")
LOST_AFTER = 3
"""So many lost workers are borne; one more ends a run as `failed(lost_worker)`."""


def broken(evidence: Evidence, planned: Mapping[str, Planned]) -> list[str]:
    """Every broken promise about `planned` (execution id → what was asked for)."""
    found = [f"{one}: accepted, never published" for one in evidence.unpublished]
    for slot in evidence.held_slots:
        found += [
            f"{holder['execution']}: still holds slot {slot['_id']}" for holder in slot["holders"]
        ]
    for id_, plan in planned.items():
        found += [f"{id_} ({plan.kind}): {what}" for what in _of_run(evidence, id_, plan)]
    return found


def _of_run(evidence: Evidence, id_: str, planned: Planned) -> Iterator[str]:
    document = evidence.executions.get(id_)
    if document is None:
        yield "accepted, and there is no execution"
        return
    steps = evidence.steps.get(id_, ())
    rows = evidence.events.get(id_, ())
    yield from _end(document, steps, planned)
    yield from _messages(document, steps, rows, evidence.completions.get(id_, ()))
    yield from _order(rows)
    yield from _logs(document, steps, evidence.logs.get(id_, ()), planned)
    yield from _artifacts(steps, evidence.artifacts.get(id_, ()), planned)
    yield from _cases(document, steps, evidence.cases.get(id_, ()))


def _end(document: Document, steps: Sequence[Document], planned: Planned) -> Iterator[str]:
    """One final state, of the kind that was to come; nothing is held any more."""
    end = (document["status"], document.get("reason"))
    if end == LOST and document["recoveries"] <= LOST_AFTER:
        yield f"given up after {document['recoveries']} lost workers only"
    elif end != LOST and end[0] not in planned.ends:
        yield f"ended as {end}, {document.get('error')}"
    if document.get("lease"):
        yield f"still leased by {document['lease']['owner']}"
    if document.get("tombstone"):
        yield "still a tombstone"
    if len(steps) != len(planned.plan["steps"]):
        yield f"{len(steps)} of {len(planned.plan['steps'])} steps are there"
    for step in steps:
        left = step["status"] not in STEP_FINAL
        if end[0] == "completed" and step["status"] != "completed":
            yield f"completed with step {step['step_name']} {step['status']}"
        if left and end != LOST and end[0] != "cancelled":  # those may end without an owner
            yield f"step {step['step_name']} is left {step['status']}"


def _messages(
    document: Document,
    steps: Sequence[Document],
    rows: Sequence[Document],
    completions: Sequence[Document],
) -> Iterator[str]:
    """Each state change has one event id on Kafka, and the reverse."""
    id_ = document["_id"]
    told = {row["sequence"]: row for row in rows if row["type"] not in NOT_A_CHANGE}
    for row in rows:
        if row["type"] not in NOT_A_CHANGE and row["id"] != event_id(id_, row["sequence"]):
            yield f"event {row['sequence']} has a foreign id"
    kept: dict[int, str] = {}
    whole = True
    for holder in (document, *steps):
        whole &= len(holder["transitions"]) < KEPT_TRANSITIONS
        for change in holder["transitions"]:
            if change["sequence"] in kept:
                yield f"two changes have the number {change['sequence']}"
            kept[change["sequence"]] = change["type"]
        if holder["events"]:
            yield "holds events that are not published"
    if lost := sorted(set(kept) - set(told)):
        yield f"changes without an event: {[(number, kept[number]) for number in lost]}"
    if whole and (invented := sorted(set(told) - set(kept))):
        yield f"events without a change: {[(number, told[number]['type']) for number in invented]}"
    yield from _ends_told(document, list(told.values()), completions)


def _ends_told(
    document: Document, told: Sequence[Document], completions: Sequence[Document]
) -> Iterator[str]:
    """The end is told once, on both topics under one id."""
    ends = [row for row in told if row["type"] == "run.finished"]
    if len(ends) != 1:
        yield f"{len(ends)} ends were told"
        return
    if ends[0]["status"] != document["status"]:
        yield f"is {document['status']}, told as {ends[0]['status']}"
    if {row["id"] for row in completions} != {ends[0]["id"]}:
        yield f"{len(completions)} messages on execution-complete, not under the id of its end"
    by_step: dict[int, int] = {}
    for row in told:
        if row["type"] == "step.finished":
            by_step[row["step_id"]] = by_step.get(row["step_id"], 0) + 1
    for step, times in by_step.items():
        if times > 1:
            yield f"step {step} ended {times} times"


def _order(rows: Sequence[Document]) -> Iterator[str]:
    """Whoever leaves out known ids sees rising numbers, each naming the one before it."""
    seen: dict[str, int] = {}
    last = -1
    for row in rows:
        if row["type"] in NOT_A_CHANGE or row["id"] in seen:
            continue
        number, prev = row["sequence"], row.get("prev")
        if number <= last:
            yield f"event {number} came after {last}"
        if prev is None and seen:
            yield f"event {number} ({row['type']}) names none before it"
        if prev is not None and prev not in seen.values():
            yield f"event {number} ({row['type']}) names {prev}, which nobody has seen"
        same_owner = number >> SEQUENCE_BITS == last >> SEQUENCE_BITS
        if seen and same_owner and prev != last:
            yield f"event {number} ({row['type']}) names {prev} instead of {last}"
        seen[row["id"]] = number
        last = max(last, number)


def _logs(
    document: Document, steps: Sequence[Document], logs: Sequence[Document], planned: Planned
) -> Iterator[str]:
    """A completed step has its whole log; a lost try has the beginning of it, up to its last stored chunk."""
    fences = document.get("log_fences") or ()
    texts: dict[tuple[str, str], str] = {}
    for chunk in logs:
        counts = all(
            chunk["epoch"] >= fence["epoch"] or chunk["chunk"] <= fence["chunk"] for fence in fences
        )
        if counts and chunk["stream"] == "stdout":
            place = (chunk["step_name"], chunk["attempt"])
            texts[place] = texts.get(place, "") + chunk["text"]
    for step in steps:
        expected = planned.texts.get(step["step_name"])
        if expected is None:
            continue
        for (name, attempt), text in texts.items():
            if name == step["step_name"] and not expected.startswith(text):
                yield f"log of {name}, try {attempt}, has a hole: {text!r}"
        if step["status"] == "completed":
            text = texts.get((step["step_name"], step["attempt"]), "")
            if text != expected:
                yield f"log of {step['step_name']} is {text!r}"


def _artifacts(
    steps: Sequence[Document], artifacts: Sequence[Document], planned: Planned
) -> Iterator[str]:
    """A completed step has its file once, of the try that counts; a file of a lost try is extra, not missing."""
    for step in steps:
        name = planned.artifacts.get(step["step_name"])
        if name is None or step["status"] != "completed":
            continue
        own = f"/{step['step_id']}/{step['attempt']}/files/{name}"
        found = [one for one in artifacts if one["object_key"].endswith(own)]
        if len(found) != 1:
            yield f"step {step['step_name']} has {len(found)} files {name}"


def _cases(run: Document, steps: Sequence[Document], cases: Sequence[Document]) -> Iterator[str]:
    """A step's results count the cases of the try that they name; the run's are the sum of its steps'."""
    results = [step["results"] for step in steps if step.get("results")]
    for step in steps:
        counted = step.get("results")
        if not counted:
            if step.get("status") == "completed" and step["step_name"] == "tell":
                yield "step tell reported cases, and has no results"
            continue
        own = (step["step_id"], counted["attempt"])
        found = sum((case["step_id"], case["attempt"]) == own for case in cases)
        if found != counted["tests"]:
            yield f"step {step['step_name']} counts {counted['tests']} cases, {found} are there"
    total = (run.get("results") or {}).get("tests", 0)
    if total != sum(one["tests"] for one in results) and run["status"] == "completed":
        yield f"the run counts {total} cases, its steps {sum(one['tests'] for one in results)}"
