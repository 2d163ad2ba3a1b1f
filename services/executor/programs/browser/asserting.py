"""What each assertion looks at. It holds as soon as it is true once within its time. Raises StepFailed."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urljoin

from playwright.async_api import Error, Locator, Page, expect

from services.executor.programs.browser.failures import LOOK_MS, StepFailed, is_gone, short, why
from services.executor.programs.browser.steps import BrowserStep

Check = Callable[[BrowserStep, Locator | None, Page, float], Awaitable[None]]


def _wanted(step: BrowserStep) -> str:
    return step.equals if "equals" in step.model_fields_set else step.contains


def _differs(what: str, step: BrowserStep, actual: str) -> str:
    verb = "be" if "equals" in step.model_fields_set else "contain"
    return f"{what} should {verb} '{short(_wanted(step))}' but is '{short(actual)}'"


async def _text(step: BrowserStep, locator: Any, _page: Page, seconds: float) -> None:
    expected = expect(locator)
    whole = "equals" in step.model_fields_set
    check = expected.to_have_text if whole else expected.to_contain_text
    try:
        await check(
            _wanted(step), ignore_case=step.ignore_case, use_inner_text=True, timeout=seconds * 1000
        )
    except (AssertionError, Error) as error:
        actual = await _one(locator, step.element, error, seconds)
        said = _differs(
            f"the text of '{step.element}'", step, await actual.inner_text(timeout=LOOK_MS)
        )
        raise StepFailed("wrong_text", said) from None


async def _value(step: BrowserStep, locator: Any, _page: Page, seconds: float) -> None:
    whole = "equals" in step.model_fields_set
    pattern = step.equals if whole else re.compile(re.escape(step.contains))
    try:
        await expect(locator).to_have_value(pattern, timeout=seconds * 1000)
    except (AssertionError, Error) as error:
        actual = await _one(locator, step.element, error, seconds)
        try:
            value = await actual.input_value(timeout=LOOK_MS)
        except Error as no_field:
            raise await why(locator, step.element, no_field, seconds) from None
        said = _differs(f"the value of '{step.element}'", step, value)
        raise StepFailed("wrong_value", said) from None


async def _one(locator: Any, element: str, error: Exception, seconds: float) -> Any:
    """The element, when there is exactly one to be told about. Raises StepFailed."""
    try:
        if await locator.count() == 1:
            return locator
    except Error as gone:
        error = gone
    raise await why(locator, element, error, seconds) from None


async def _visible(step: BrowserStep, locator: Any, _page: Page, seconds: float) -> None:
    try:
        await expect(locator).to_be_visible(timeout=seconds * 1000)
    except (AssertionError, Error) as error:
        raise await why(locator, step.element, error, seconds) from None


async def _hidden(step: BrowserStep, locator: Any, _page: Page, seconds: float) -> None:
    try:
        await expect(locator).to_be_hidden(timeout=seconds * 1000)
    except (AssertionError, Error) as error:
        await _one(locator, step.element, error, seconds)
        said = f"element '{step.element}' should be hidden but is visible"
        raise StepFailed("visible", said) from None


async def _count(step: BrowserStep, locator: Any, _page: Page, seconds: float) -> None:
    try:
        await expect(locator).to_have_count(step.count, timeout=seconds * 1000)
    except (AssertionError, Error) as error:
        if isinstance(error, Error):
            raise await why(locator, step.element, error, seconds) from None
        there = await locator.count()
        said = f"{step.count} elements should match '{step.element}' but {there} do"
        raise StepFailed("wrong_count", said) from None


async def _url(step: BrowserStep, _locator: Any, page: Page, seconds: float) -> None:
    if "equals" in step.model_fields_set:
        base = page.url if page.url.startswith("http") else None
        expected: Any = urljoin(base, step.equals) if base else step.equals
    else:
        expected = re.compile(re.escape(step.contains))
    try:
        await expect(page).to_have_url(expected, timeout=seconds * 1000)
    except (AssertionError, Error) as error:
        _still_there(error)
        raise StepFailed("wrong_url", _differs("the address", step, page.url)) from None


async def _title(step: BrowserStep, _locator: Any, page: Page, seconds: float) -> None:
    whole = "equals" in step.model_fields_set
    expected = step.equals if whole else re.compile(re.escape(step.contains))
    try:
        await expect(page).to_have_title(expected, timeout=seconds * 1000)
    except (AssertionError, Error) as error:
        _still_there(error)
        raise StepFailed("wrong_title", _differs("the title", step, await page.title())) from None


def _still_there(error: Exception) -> None:
    if is_gone(error):
        raise StepFailed("page_closed", "the page was closed") from None


ASSERTIONS: dict[str, Check] = {
    "assert_text": _text,
    "assert_value": _value,
    "assert_visible": _visible,
    "assert_hidden": _hidden,
    "assert_count": _count,
    "assert_url": _url,
    "assert_title": _title,
}
