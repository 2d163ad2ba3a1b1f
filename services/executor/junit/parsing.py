"""Reads JUnit XML in the forms that test programs write it. Whoever wrote the file may mean harm.

Nothing outside of the file is read, entities and document types are refused, sizes are bounded. A file that breaks off
gives the cases before the break.
"""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from services.executor.junit.cases import CaseStatus, ReportedCase

MAX_BYTES = 32 * 1024 * 1024
MAX_ELEMENTS = 250_000
MAX_DEPTH = 50
MAX_NAME = 1_000
MAX_MESSAGE = 2_000
MAX_DETAILS = 4_000

_RERUNS = ("rerunFailure", "rerunError", "flakyFailure", "flakyError")
_FLAKY = ("flakyFailure", "flakyError")
_NOT_RUN = ("notrun", "skipped", "disabled")


class BadReport(Exception):
    """The file is no JUnit XML, or not to its end."""


def read_cases(path: Path) -> Iterator[ReportedCase]:
    """The cases in the order of the file. Raises BadReport, perhaps after some cases."""
    with opened(path) as file:
        try:
            yield from _cases(iterparse(file, events=("start", "end"), forbid_dtd=True))
        except DefusedXmlException:
            raise BadReport("it has a document type or entities, which are not read") from None
        except ParseError as error:
            raise BadReport(f"it is broken: {error}") from None
        except (ValueError, LookupError) as error:  # an encoding that there is not
            raise BadReport(f"it cannot be read: {error}") from None


def _cases(events: Any) -> Iterator[ReportedCase]:
    suites: list[Any] = []
    begun = False
    for event, element in _bounded(events):
        tag = _tag(element)
        if not begun and tag not in ("testsuites", "testsuite"):
            raise BadReport(f"it is not JUnit XML: it begins with <{tag[:50]}>")
        begun = True
        if tag == "testsuite" and event == "start":
            suites.append(element)
        elif tag == "testsuite":
            suites.pop()
            element.clear()
        elif tag == "testcase" and event == "end":
            yield _case(element, suites[-1] if suites else None)
            element.clear()
        elif tag in ("system-out", "system-err", "properties") and event == "end":
            element.clear()


def _bounded(events: Any) -> Iterator[tuple[str, Any]]:
    """The same events, as long as a report would have them: each element costs memory."""
    elements = depth = 0
    for event, element in events:
        depth += 1 if event == "start" else -1
        elements += event == "start"
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise BadReport("it has too many elements, or they are nested too deeply")
        yield event, element


def _case(element: Any, suite: Any) -> ReportedCase:
    of_suite = suite.attrib if suite is not None else {}
    children = {_tag(child): child for child in element}
    reruns = [child for child in element if _tag(child) in _RERUNS]
    status, cause = _status(element, children)
    flaky = status == "passed" and any(_tag(child) in _FLAKY for child in reruns)
    cause = cause if cause is not None else (reruns[0] if reruns else None)
    return ReportedCase(
        name=_cut(element.get("name"), MAX_NAME) or "(no name)",
        class_name=_cut(element.get("classname"), MAX_NAME) or "",
        suite=_cut(of_suite.get("name"), MAX_NAME) or "",
        file=_cut(element.get("file") or of_suite.get("file"), MAX_NAME),
        status=status,
        duration_ms=_milliseconds(element.get("time")),
        message=None if cause is None else _message(cause),
        details=None if cause is None else _cut((cause.text or "").strip(), MAX_DETAILS),
        retries=len(reruns),
        flaky=flaky,
    )


def _status(element: Any, children: dict[str, Any]) -> tuple[CaseStatus, Any]:
    """The status, and the element that says why."""
    if "error" in children:
        return "error", children["error"]
    if "failure" in children:
        return "failed", children["failure"]
    if "skipped" in children:
        return "skipped", children["skipped"]
    if element.get("status") in _NOT_RUN or element.get("result") in ("suppressed", "skipped"):
        return "skipped", None
    return "passed", None


def _message(cause: Any) -> str | None:
    first = (cause.text or "").strip().partition("\n")[0]
    return _cut(cause.get("message") or cause.get("type") or first, MAX_MESSAGE)


def _milliseconds(text: str | None) -> float | None:
    """Of seconds as they are written, `1,234.5` too."""
    try:
        seconds = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return round(seconds * 1000, 3) if math.isfinite(seconds) and seconds >= 0 else None


def _cut(text: str | None, limit: int) -> str | None:
    """Not too long, and storable: without NUL and halves of surrogate pairs."""
    if not text:
        return None
    clean = text[:limit].replace("\0", "").encode("utf-8", "replace").decode()
    return clean if len(text) <= limit else f"{clean}…"


def _tag(element: Any) -> str:
    """Without its name space."""
    return str(element.tag).rpartition("}")[2]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The step's programs own this place: a link or a device in it is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadReport(f"it cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise BadReport("it is not a regular file")
        if found.st_size > MAX_BYTES:
            raise BadReport(f"it is larger than {MAX_BYTES} bytes")
        yield file
