"""One line for what went wrong in a browser: a kind, which is a stable word, and a sentence.

Kinds: `not_found, hidden, visible, disabled, covered, several_matches, wrong_text, wrong_value, wrong_count, wrong_url,
wrong_title, timeout, navigation_failed, address_refused, host_refused, is_download, page_closed, crashed, no_such_page,
file_missing, bad_locator, script_error`.
"""

import re

from playwright.async_api import Error, Locator
from playwright.async_api import TimeoutError as Late

LOOK_MS = 2_000
REFUSED = ("address_refused", "host_refused")
"""Kinds of what may not be opened, whether it is there or not."""
_SHORT = 300
_NO_LOCATOR = re.compile(r"[Uu]nknown engine|Unexpected token|not a valid|while parsing")
_COVERED = re.compile(r"(<[^>]{1,200}>).{0,200}? intercepts pointer events", re.DOTALL)


class StepFailed(Exception):
    """A browser step failed."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def first_line(error: BaseException) -> str:
    """What Playwright says, without its drawing and its log."""
    text = str(error).strip().split("\n", 1)[0]
    return short(re.sub(r"^(?:[A-Za-z]+\.[a-z_A-Z]+: |Error: )+", "", text))


def start_line(error: BaseException) -> str:
    """What the browser itself said before it gave up, if anything, is the better reason."""
    said = re.findall(
        r"\[err\] (.*(?:FATAL|error while loading|annot|ermission|not supported|No such).*)",
        str(error),
    )
    return short(said[-1]) if said else first_line(error)


def short(text: str) -> str:
    """A value for a sentence."""
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def is_gone(error: BaseException) -> bool:
    """The page, the context or the browser is no more."""
    return bool(
        re.search(r"has been closed|Target crashed|Page crashed|Connection closed", str(error))
    )


async def why(locator: Locator, element: str, error: Exception, seconds: float) -> StepFailed:
    """Look at the element once more to say why nothing could be done with it."""
    message = str(error)
    if is_gone(error):
        return StepFailed("page_closed", "the page was closed")
    if not isinstance(error, Late) and _NO_LOCATOR.search(message):
        return StepFailed("bad_locator", f"'{element}' is no locator: {first_line(error)}")
    try:
        state = await _state(locator, element, seconds)
    except Error as again:
        state = StepFailed("page_closed", "the page was closed") if is_gone(again) else None
    if state is not None:
        return state
    if found := _COVERED.search(message):
        return StepFailed("covered", f"element '{element}' is covered by {short(found[1])}")
    if isinstance(error, Late):
        return StepFailed("timeout", f"nothing came of it within {seconds:g} s")
    return StepFailed("script_error", first_line(error))


async def _state(locator: Locator, element: str, seconds: float) -> StepFailed | None:
    """What is wrong with the element as it is now."""
    count = await locator.count()
    if count == 0:
        return StepFailed("not_found", f"there is no element '{element}' (waited {seconds:g} s)")
    if count > 1:
        return StepFailed(
            "several_matches", f"{count} elements match '{element}'; name one of them"
        )
    if not await locator.is_visible():
        return StepFailed("hidden", f"element '{element}' is there but hidden")
    if not await locator.is_enabled(timeout=LOOK_MS):
        return StepFailed("disabled", f"element '{element}' is disabled")
    return None


def navigation(url: str, error: Exception, seconds: float) -> StepFailed:
    """Why a page did not open."""
    message = str(error)
    if is_gone(error):
        return StepFailed("page_closed", "the page was closed")
    if "Download is starting" in message:
        return StepFailed("is_download", f"{short(url)} is a file, no page: use action 'download'")
    if isinstance(error, Late):
        return StepFailed("navigation_failed", f"{short(url)} did not load within {seconds:g} s")
    found = re.search(r"net::(ERR_[A-Z_]+)", message)
    why_not = found[1] if found else first_line(error)
    return StepFailed("navigation_failed", f"{short(url)} did not open: {why_not}")
