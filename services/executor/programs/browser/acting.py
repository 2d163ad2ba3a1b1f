"""What each action does in the page. Raises StepFailed."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Error, Locator, Response

from services.executor.http_steps.expectations import is_status
from services.executor.programs.browser.asserting import ASSERTIONS
from services.executor.programs.browser.failures import (
    StepFailed,
    first_line,
    short,
    why,
)
from services.executor.programs.browser.locating import locate
from services.executor.programs.browser.session import Session
from services.executor.programs.browser.steps import BrowserStep

MAX_VALUE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Doing:
    """One step being done."""

    step: BrowserStep
    session: Session
    values: dict[str, Any]
    """What the script keeps."""
    number: int = 1

    @property
    def seconds(self) -> float:
        settings = self.session.settings
        if self.step.action in NAVIGATIONS:
            return self.step.timeout_seconds or settings.navigation_timeout_seconds
        return self.step.timeout_seconds or settings.timeout_seconds

    @property
    def ms(self) -> float:
        return self.seconds * 1000

    @property
    def locator(self) -> Locator:
        return locate(self.session.scope(self.step.frame), self.step.element)

    def save(self, value: Any) -> None:
        """Keep it under the step's `save_as`, if it has one."""
        if not self.step.save_as:
            return
        if len(json.dumps(value)) > MAX_VALUE_BYTES:
            raise StepFailed("script_error", f"the value is larger than {MAX_VALUE_BYTES} bytes")
        self.values[self.step.save_as] = value


Act = Callable[[Doing], Awaitable[None]]


async def perform(doing: Doing) -> None:
    """Do one step. Raises StepFailed."""
    step = doing.step
    if check := ASSERTIONS.get(step.action):
        locator = doing.locator if step.element else None
        return await check(step, locator, doing.session.page, doing.seconds)
    try:
        await _ACTIONS[step.action](doing)
    except Error as error:
        if step.action in NAVIGATIONS or step.url:
            where = step.url or doing.session.page.url
            raise doing.session.not_opened(where, error, doing.seconds) from None
        if step.element:
            raise await why(doing.locator, step.element, error, doing.seconds) from None
        raise StepFailed("script_error", first_line(error)) from None


async def _navigate(doing: Doing) -> None:
    url = doing.session.address(doing.step.url)
    answer = await doing.session.page.goto(url, wait_until=doing.step.load, timeout=doing.ms)
    _judge(doing, answer)


async def _reload(doing: Doing) -> None:
    answer = await doing.session.page.reload(wait_until=doing.step.load, timeout=doing.ms)
    _judge(doing, answer)


def _judge(doing: Doing, answer: Response | None) -> None:
    """A page that says that it is broken did not open, whatever it shows. None: nobody was asked (`about:blank`)."""
    wanted = doing.step.expect_status
    if answer is None:
        return
    choices = wanted if isinstance(wanted, list) else [wanted or "100-499"]
    if any(is_status(choice, answer.status) for choice in choices):
        return
    expected = "below 500" if wanted is None else " or ".join(map(str, choices))
    sentence = f"{short(answer.url)} answered {answer.status}; expected was {expected}"
    raise StepFailed("navigation_failed", sentence)


async def _back(doing: Doing) -> None:
    await doing.session.page.go_back(wait_until=doing.step.load, timeout=doing.ms)


async def _click(doing: Doing) -> None:
    step = doing.step
    await doing.locator.click(button=step.button, click_count=step.times, timeout=doing.ms)


async def _hover(doing: Doing) -> None:
    await doing.locator.hover(timeout=doing.ms)


async def _fill(doing: Doing) -> None:
    await doing.locator.fill(doing.step.value, timeout=doing.ms)


async def _type(doing: Doing) -> None:
    await doing.locator.press_sequentially(doing.step.value, timeout=doing.ms)


async def _select(doing: Doing) -> None:
    await doing.locator.select_option(doing.step.values, timeout=doing.ms)


async def _check(doing: Doing) -> None:
    await doing.locator.set_checked(doing.step.action == "check", timeout=doing.ms)


async def _press(doing: Doing) -> None:
    if doing.step.element:
        await doing.locator.press(doing.step.key, timeout=doing.ms)
    else:
        await doing.session.page.keyboard.press(doing.step.key)


async def _upload(doing: Doing) -> None:
    folder = Path(doing.session.where.working_dir)
    paths = [_file(folder, name) for name in doing.step.files]
    await doing.locator.set_input_files(paths, timeout=doing.ms)


def _file(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise StepFailed("file_missing", f"there is no file '{name}' in the working directory")
    return path


async def _wait_for(doing: Doing) -> None:
    step, page = doing.step, doing.session.page
    given = step.model_fields_set
    if "element" in given:
        await doing.locator.wait_for(state=step.state, timeout=doing.ms)
    elif "url" in given:
        await page.wait_for_url(re.compile(re.escape(step.url)), timeout=doing.ms)
    elif "ms" in given:
        await asyncio.sleep(step.ms / 1000)
    else:
        await page.wait_for_load_state(step.load, timeout=doing.ms)


async def _screenshot(doing: Doing) -> None:
    step = doing.step
    path = picture(doing.session, f"{doing.number:02d}-{step.name or 'screenshot'}")
    if step.element:
        await doing.locator.screenshot(path=path, timeout=doing.ms)
    else:
        await doing.session.page.screenshot(path=path, full_page=step.full_page, timeout=doing.ms)


async def _read(doing: Doing) -> None:
    doing.save(await doing.locator.inner_text(timeout=doing.ms))


async def _evaluate(doing: Doing) -> None:
    try:
        async with asyncio.timeout(doing.seconds):
            value = await doing.session.page.evaluate(doing.step.script)
    except TimeoutError:
        raise StepFailed("timeout", f"the script took longer than {doing.seconds:g} s") from None
    try:
        doing.save(value)
    except (TypeError, ValueError):
        raise StepFailed("script_error", "what the script gave is no JSON value") from None


async def _download(doing: Doing) -> None:
    """The session keeps every file that comes; this waits for one."""
    page, step, session = doing.session.page, doing.step, doing.session
    async with page.expect_download(timeout=doing.ms) as coming:
        if step.url:
            await _open_file(doing)
        else:
            await doing.locator.click(timeout=doing.ms)
    doing.save(await session.taken(await coming.value))


async def _open_file(doing: Doing) -> None:
    """Opening a file ends as an error of the page, which stays where it was."""
    try:
        await doing.session.page.goto(doing.session.address(doing.step.url), timeout=doing.ms)
    except Error as error:
        if "Download is starting" not in str(error):
            raise


async def _dialogs(doing: Doing) -> None:
    doing.session.answer, doing.session.answer_text = doing.step.answer, doing.step.value


async def _switch_page(doing: Doing) -> None:
    """A page that a click opens may come a moment later."""
    number, session = doing.step.page, doing.session
    try:
        async with asyncio.timeout(doing.seconds):
            while not (page := session.numbered(number)):
                await session.context.wait_for_event("page", timeout=doing.ms)
    except (TimeoutError, Error):
        there = len(session.pages)
        raise StepFailed(
            "no_such_page", f"there is no page {number}; {there} were opened"
        ) from None
    session.page = page
    await page.bring_to_front()


async def _close_page(doing: Doing) -> None:
    await doing.session.page.close()
    left = [page for page in doing.session.pages if not page.is_closed()]
    if left:
        doing.session.page = left[-1]


def picture(session: Session, name: str) -> Path:
    """Where to leave a picture."""
    plain = re.sub(r"[^A-Za-z0-9._\-]+", "-", name).strip(".-")[:80]
    return session.artifacts / f"{plain}.png"


NAVIGATIONS = frozenset({"navigate", "reload", "back"})
_ACTIONS: dict[str, Act] = {
    "navigate": _navigate,
    "reload": _reload,
    "back": _back,
    "click": _click,
    "hover": _hover,
    "fill": _fill,
    "type": _type,
    "select": _select,
    "check": _check,
    "uncheck": _check,
    "press": _press,
    "upload": _upload,
    "wait_for": _wait_for,
    "screenshot": _screenshot,
    "read": _read,
    "evaluate": _evaluate,
    "download": _download,
    "dialogs": _dialogs,
    "switch_page": _switch_page,
    "close_page": _close_page,
}
