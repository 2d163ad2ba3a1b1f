"""A run as JUnit XML, the form that CI systems show: one suite with a test case per step, and one for each step that
reported test cases of its own.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

Json = Mapping[str, Any]
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(
    path: Path,
    execution: Json,
    steps: Sequence[Json],
    logs: Sequence[Json],
    cases: Sequence[Json] = (),
) -> None:
    """Write the report; `logs` are chunks and `cases` test cases as the API lists them."""
    suite = ET.Element("testsuite", _totals(execution, steps))
    for step in steps:
        case = ET.SubElement(
            suite,
            "testcase",
            name=str(step["step_name"]),
            classname=str(execution.get("name") or "cadenza"),
            time=_seconds(step),
        )
        _outcome(case, step)
        for stream, tag in (("stdout", "system-out"), ("stderr", "system-err")):
            text = "".join(
                chunk["text"]
                for chunk in logs
                if chunk.get("step_id") == step["step_id"] and chunk.get("stream") == stream
            )
            if text:
                ET.SubElement(case, tag).text = printable(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    root = ET.Element("testsuites")
    root.append(suite)
    for step in steps:
        own = [case for case in cases if case["step_id"] == step["step_id"]]
        if own:
            root.append(_reported(step, own))
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _reported(step: Json, cases: Sequence[Json]) -> ET.Element:
    """The suite of a step's own test cases."""
    ended = [case["status"] for case in cases]
    suite = ET.Element(
        "testsuite",
        name=printable(str(step["step_name"])),
        tests=str(len(cases)),
        failures=str(ended.count("failed")),
        errors=str(ended.count("error")),
        skipped=str(ended.count("skipped")),
    )
    for case in cases:
        own = ET.SubElement(
            suite,
            "testcase",
            name=printable(case["name"]),
            classname=printable(case.get("class_name") or ""),
            time=_seconds(case),
        )
        _outcome_of_case(own, case)
    return suite


def _outcome_of_case(own: ET.Element, case: Json) -> None:
    again = {"failed": "rerunFailure", "error": "rerunError"}.get(case["status"], "flakyFailure")
    tag = {"failed": "failure", "error": "error", "skipped": "skipped"}.get(case["status"])
    message = printable(case.get("message") or "")
    if tag:
        ET.SubElement(own, tag, message=message).text = printable(case.get("details") or "")
    for _ in range(case.get("retries") or 0):
        ET.SubElement(own, again, message=message)


def printable(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold (terminal colours, for one)."""
    return _UNPRINTABLE.sub("", text)


def _totals(execution: Json, steps: Sequence[Json]) -> dict[str, str]:
    ended = [step.get("status") for step in steps]
    return {
        "name": str(execution.get("name") or execution["execution_id"]),
        "id": str(execution["execution_id"]),
        "tests": str(len(steps)),
        "failures": str(ended.count("failed")),
        "errors": str(ended.count("timed_out") + ended.count("cancelled")),
        "skipped": str(ended.count("skipped") + ended.count("pending")),
        "time": _seconds(execution),
        "timestamp": str(execution.get("started_at") or execution.get("created_at") or ""),
    }


def _outcome(case: ET.Element, step: Json) -> None:
    tags = {
        "failed": "failure",
        "timed_out": "error",
        "cancelled": "error",
        "skipped": "skipped",
        "pending": "skipped",
    }
    tag = tags.get(str(step.get("status")))
    if tag:
        message = str(step.get("reason") or step["status"])
        mark = ET.SubElement(case, tag, message=printable(message))
        mark.text = printable(str(step.get("error") or ""))


def _seconds(thing: Json) -> str:
    return f"{(thing.get('duration_ms') or 0) / 1000:.3f}"
