"""A browser with one context: pages, what they tell beside (console, dialogs, downloads), trace and video.

Promises: whatever the browser does, `close` returns; popups, dialogs and downloads never hold up the page.
"""

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import Coroutine
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urljoin

from playwright.async_api import (
    Browser,
    BrowserContext,
    Dialog,
    Download,
    Error,
    FrameLocator,
    Page,
    Playwright,
    Request,
    async_playwright,
)

from services.executor.programs.browser import hosts
from services.executor.programs.browser.failures import (
    StepFailed,
    first_line,
    navigation,
    short,
    start_line,
)
from services.executor.programs.browser.guard import Guard
from services.executor.programs.browser.locating import locate
from services.executor.programs.browser.report import Ended, Report
from services.executor.programs.browser.requests import BrowserRequest, PageSettings
from shared.tasks import end_tasks

T = TypeVar("T")

START_SECONDS = 30
CLOSE_SECONDS = 10
MAX_PAGES, MAX_DOWNLOADS, MAX_TOLD = 20, 50, 20


class Session:
    """Use as a context manager. Raises Ended when there is no browser to be had."""

    context: BrowserContext
    page: Page
    """The present one."""

    def __init__(self, browser: BrowserRequest, page: PageSettings, report: Report) -> None:
        self.where = browser
        self.settings = page
        self.report = report
        self.guard = Guard(browser)
        self._page_refused = ""
        self.pages: list[Page] = []
        self.console_errors: list[str] = []
        self.failed_requests: list[str] = []
        self.dialogs: list[dict[str, str]] = []
        self.downloads: dict[Download, str] = {}
        self.answer, self.answer_text = page.dialogs, ""
        self._lost: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._closing = False
        self._work: set[asyncio.Task[None]] = set()
        self._playwright: Playwright
        self._browser: Browser | None = None

    async def __aenter__(self) -> "Session":
        wanted = self.settings.video != "off"
        self._filmed = wanted and _video_tools(Path(self.where.folder))
        if wanted and not self._filmed:
            self.report.say("no video: there is no ffmpeg on this machine (apt-get install ffmpeg)")
        await self.guard.__aenter__()
        self._playwright = await async_playwright().start()
        try:
            self._browser = await self._launch()
            self.context = await self._new_context(self._browser)
            self.page = await self.context.new_page()
        except Ended:
            await self._quit()
            raise
        except Error as error:
            await self._quit()
            raise Ended(
                "browser_failed", f"the browser did not start: {start_line(error)}"
            ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._quit()

    @property
    def artifacts(self) -> Path:
        """Where to leave what is kept; private, so thrown away, where nobody keeps anything."""
        return Path(self.where.artifacts or self.where.folder)

    def scope(self, frame: str) -> Page | FrameLocator:
        """Where elements are looked for."""
        return locate(self.page, frame).content_frame if frame else self.page

    def address(self, url: str) -> str:
        """The whole address. Raises StepFailed when settings refuse its host."""
        whole = urljoin(self.settings.base_url, url) if self.settings.base_url else url
        if not re.match(r"[a-z][a-z0-9+.\-]*:", whole, re.IGNORECASE):
            raise StepFailed(
                "navigation_failed", f"'{whole}' is no address and there is no base_url"
            )
        if not hosts.scheme_admitted(whole, self.where.schemes):
            raise StepFailed("address_refused", f"{whole}: {_only(self.where.schemes)}")
        if not hosts.allowed(whole, self.where.allowed_hosts):
            raise StepFailed("host_refused", f"this executor's browsers may not open {whole}")
        self._page_refused, self.guard.latest = "", None
        return whole

    def not_opened(self, url: str, error: Error, seconds: float) -> StepFailed:
        """Why a page did not open, which may be one that another led to."""
        if "ERR_SOCKS" not in str(error):
            return navigation(url, error, seconds)
        guard = self.guard
        refused = guard.why(self._page_refused) or guard.why(url) or guard.latest
        if refused is None or refused.kind == "unreachable":
            why_not = refused.sentence if refused else first_line(error)
            return StepFailed("navigation_failed", f"{short(url)} did not open: {why_not}")
        return StepFailed(refused.kind, f"{short(url)} did not open: {refused.sentence}")

    @property
    def lost(self) -> Ended | None:
        """Why nothing more can be done: the browser or a page crashed."""
        return self._lost.result() if self._lost.done() else None

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it. Raises Ended as soon as the browser or a page crashes."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if lost := self.lost:
            await end_tasks(task)
            raise lost
        return task.result()

    async def settle(self) -> None:
        """Wait for downloads that are under way, no longer than a page may take."""
        if self._work:
            await asyncio.wait(self._work, timeout=self.settings.navigation_timeout_seconds)

    async def keep(self, *, failed: bool) -> None:
        """End the recordings and keep those that are wanted."""
        await self.settle()
        trace = _wanted(self.settings.trace, failed=failed)
        videos = _wanted(self.settings.video, failed=failed)
        folder = Path(self.where.folder)
        async with _patience():
            if self.settings.trace != "off":
                await self.context.tracing.stop(path=folder / "trace.zip" if trace else None)
        self._closing = True
        async with _patience():
            await self.context.close()
        if trace and (folder / "trace.zip").exists():
            await asyncio.to_thread(self._keep_trace, folder / "trace.zip")
        if videos:
            for number, file in enumerate(sorted((folder / "video").glob("*.webm")), start=1):
                shutil.move(file, self.artifacts / f"video-{number}.webm")

    def _keep_trace(self, file: Path) -> None:
        from services.executor.programs.browser.masking import mask_zip

        mask_zip(file, self.artifacts / "trace.zip", self.where.secrets)

    async def _launch(self) -> Browser:
        browser = await self._playwright.chromium.launch(
            executable_path=self.where.program,
            chromium_sandbox=self.where.sandbox,
            args=self.guard.arguments,
            timeout=START_SECONDS * 1000,
            handle_sigterm=False,
        )
        browser.on("disconnected", lambda _: self._lose("the browser crashed or was killed"))
        return browser

    async def _new_context(self, browser: Browser) -> BrowserContext:
        size = {"width": self.settings.viewport.width, "height": self.settings.viewport.height}
        options: dict[str, Any] = {"viewport": size}
        if self._filmed:
            options["record_video_dir"] = Path(self.where.folder) / "video"
            options["record_video_size"] = size
        if self.settings.storage_state:
            options["storage_state"] = self._state_file(self.settings.storage_state)
        context = await browser.new_context(
            ignore_https_errors=self.settings.ignore_https_errors,
            accept_downloads=self.settings.downloads,
            **options,
        )
        context.set_default_timeout(self.settings.timeout_seconds * 1000)
        context.set_default_navigation_timeout(self.settings.navigation_timeout_seconds * 1000)
        context.on("page", self._opened)
        context.on("dialog", lambda dialog: self._spawn(self._answer(dialog)))
        context.on("requestfailed", self._failed)
        context.on("response", lambda answer: self._answered(answer.url, answer.status))
        context.on("weberror", lambda error: self._console(str(error.error)))
        context.on(
            "console", lambda line: self._console(line.text) if line.type == "error" else None
        )
        if self.settings.trace != "off":
            await context.tracing.start(screenshots=True, snapshots=True)
        return context

    def _state_file(self, name: str) -> Path:
        path = Path(self.where.working_dir, name)
        try:
            json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise Ended("file_missing", f"there is no storage state in '{name}'") from None
        return path

    def _opened(self, page: Page) -> None:
        if len(self.pages) >= MAX_PAGES:
            self.report.say(f"a page was closed: a script may have {MAX_PAGES}")
            self._spawn(page.close())
            return
        self.pages.append(page)
        if len(self.pages) > 1:
            self.report.say(f"page {len(self.pages)} opened")
        page.on("download", lambda download: self._spawn(self._take(download)))
        page.on("crash", lambda _: self._lose("a page crashed"))

    def _lose(self, what: str) -> None:
        if not self._closing and not self._lost.done():
            self._lost.set_result(Ended("browser_crashed", what))
            self.report.say(what)

    def _spawn(self, work: Any) -> None:
        async def quietly() -> None:
            with contextlib.suppress(Error):
                await work

        task = asyncio.ensure_future(quietly())
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _answer(self, dialog: Dialog) -> None:
        # Pages that ask whether to leave them could not be left.
        answer = "accept" if dialog.type == "beforeunload" else self.answer
        if len(self.dialogs) < MAX_TOLD:
            message = dialog.message[:200]
            self.dialogs.append({"type": dialog.type, "message": message, "answer": answer})
            self.report.say(f"dialog ({dialog.type}) '{message}': {answer}")
        if answer == "accept":
            await dialog.accept(self.answer_text or dialog.default_value)
        else:
            await dialog.dismiss()

    async def _take(self, download: Download) -> None:
        if not self.settings.downloads or len(self.downloads) >= MAX_DOWNLOADS:
            return
        plain = re.sub(r"[^A-Za-z0-9._\-]+", "-", download.suggested_filename).strip(".-") or "file"
        name = f"downloads/{plain}"
        if name in self.downloads.values():
            name = f"downloads/{len(self.downloads) + 1}-{plain}"
        self.downloads[download] = name
        await download.save_as(self.artifacts / name)
        self.report.say(f"downloaded {name}")

    async def taken(self, download: Download) -> str:
        """Wait until a file is kept; its name among the artifacts."""
        await self.settle()
        return self.downloads.get(download, "")

    def numbered(self, number: int) -> Page | None:
        """A page that was opened, from 1 or, negative, from the latest."""
        place = number - 1 if number > 0 else number
        return self.pages[place] if -len(self.pages) <= place < len(self.pages) else None

    def _console(self, text: str) -> None:
        self.console_errors.append(text[:500])

    def _failed(self, request: Request) -> None:
        refused = self.guard.why(request.url)
        if refused is not None and request.is_navigation_request():
            self._page_refused = request.url
        failure = refused.kind if refused else request.failure or "failed"
        if not self._closing and failure != "net::ERR_ABORTED":
            self.failed_requests.append(f"{failure} {request.url[:500]}")

    def _answered(self, url: str, status: int) -> None:
        if status >= 400:
            self.failed_requests.append(f"{status} {url[:500]}")

    async def _quit(self) -> None:
        self._closing = True
        if self._browser is not None:
            async with _patience():
                await self._browser.close()
        async with _patience():
            await self._playwright.stop()
        await self.guard.__aexit__()


@contextlib.asynccontextmanager
async def _patience() -> Any:
    """What does not end soon, or has gone already, is left to the end of the process."""
    with contextlib.suppress(Error, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            yield


def _only(schemes: tuple[str, ...]) -> str:
    return f"this executor's browsers open {', '.join(schemes)} only (EXECUTOR__BROWSER_SCHEMES)"


def _wanted(mode: str, *, failed: bool) -> bool:
    return mode == "on" or (mode == "retain-on-failure" and failed)


def _video_tools(folder: Path) -> bool:
    """Playwright looks for ffmpeg among the browsers that it has fetched, of which we fetch none: show it the system's.
    The step's environment has that folder as PLAYWRIGHT_BROWSERS_PATH.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return False
    listed = json.loads(
        resources.files("playwright").joinpath("driver/package/browsers.json").read_text()
    )
    revision = next(entry["revision"] for entry in listed["browsers"] if entry["name"] == "ffmpeg")
    link = folder / "browsers" / f"ffmpeg-{revision}" / "ffmpeg-linux"
    link.parent.mkdir(parents=True)
    link.symlink_to(ffmpeg)
    return True
