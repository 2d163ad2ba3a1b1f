"""Goes through a site from one page, within its origin, and collects the elements of each page.

A page that does not load is tried again, then left out and told. Elements that look alike (tag, text, id, class) are
one, with a count. Everything is in `elements.json`; the outputs have as many as fit, the kinds that matter most first.
"""

import asyncio
import hashlib
import json
from collections import deque
from importlib import resources
from typing import Any
from urllib.parse import urldefrag, urlsplit

from playwright.async_api import Error

from services.executor.programs.browser.failures import REFUSED, StepFailed
from services.executor.programs.browser.locators import css_of, locators_of
from services.executor.programs.browser.profiles import KINDS
from services.executor.programs.browser.report import Ended, Report
from services.executor.programs.browser.requests import ExtractionRequest
from services.executor.programs.browser.session import Session

TRIES, FIRST_WAIT, FACTOR, LONGEST_WAIT = 3, 1.0, 2.0, 30.0
QUIET_SECONDS = 3
"""How long to wait for a page's network to become quiet; pages that never are get looked at as they are."""
LOOK_SECONDS = 30
MAX_TEXT, MAX_ATTRIBUTE = 200, 300
MAX_INLINE_BYTES = 700_000
MAX_PICTURES = 200
_SCRIPT = resources.files(__package__).joinpath("elements.js").read_text("utf-8")


class Crawl:
    """One extraction on its way."""

    def __init__(self, request: ExtractionRequest, session: Session, report: Report) -> None:
        self._request = request
        self._session = session
        self._report = report
        self._elements: dict[str, dict[str, Any]] = {}
        self._pages: list[dict[str, Any]] = []
        self._truncated = False
        self._why = ""

    async def run(self) -> None:
        """Every page; then the outputs. Raises Ended when not even the first page could be looked at."""
        try:
            first = self._session.address(self._request.url)
        except StepFailed as failed:
            raise Ended(failed.kind, str(failed)) from None
        waiting = deque([(first, 1)])
        seen = {_plain(first)}
        while waiting and len(self._pages) < self._request.max_pages:
            url, depth = waiting.popleft()
            links = await self._page(url)
            if not self._pages[0]["loaded"]:
                reason = self._why if self._why in REFUSED else "navigation_failed"
                raise Ended(reason, str(self._pages[0]["error"]))
            for link in links if depth < self._request.depth else ():
                if _plain(link) not in seen and _same_origin(link, self._pages[0]["url"]):
                    seen.add(_plain(link))
                    waiting.append((link, depth + 1))
        self._conclude(len(waiting))

    async def _page(self, url: str) -> list[str]:
        """Look at one page; returns where it leads."""
        try:
            found = await self._session.unless_lost(self._visit(url))
        except StepFailed as failed:
            self._why = self._why or failed.kind
            self._pages.append({"url": url, "loaded": False, "error": str(failed), "elements": 0})
            self._report.say(f"✗ {url}: {failed}")
            return []
        at = self._session.page.url
        new = [made for raw in found["elements"] if (made := self._take(raw, at)) is not None]
        number = len(self._pages) + 1
        self._pages.append(
            {"url": at, "loaded": True, "title": found["title"], "elements": len(new)}
        )
        self._report.say(f"✓ {at}: {len(new)} new elements of {found['found']} found")
        for css in found["broken"]:
            self._report.say(f"  '{css}' is no CSS selector")
        if found["found"] > len(found["elements"]):
            self._truncated = True
        await self._pictures(number, new)
        links: list[str] = found["links"]
        return links

    async def _visit(self, url: str) -> dict[str, Any]:
        await self._open(url)
        return await self._look()

    async def _open(self, url: str) -> None:
        wait = FIRST_WAIT
        for left in reversed(range(TRIES)):
            try:
                await self._try_to_open(url)
            except StepFailed as failed:
                if not left or failed.kind in (*REFUSED, "is_download"):
                    raise
                self._report.say(f"{failed}; trying again in {wait:g} s")
            else:
                return
            await asyncio.sleep(wait)
            wait = min(wait * FACTOR, LONGEST_WAIT)

    async def _try_to_open(self, url: str) -> None:
        seconds = self._session.settings.navigation_timeout_seconds
        try:
            answer = await self._session.page.goto(self._session.address(url))
        except Error as error:
            raise self._session.not_opened(url, error, seconds) from None
        if answer is not None and answer.status >= 400:
            raise StepFailed("navigation_failed", f"{url} answered {answer.status}")
        try:
            await self._session.page.wait_for_load_state(
                "networkidle", timeout=QUIET_SECONDS * 1000
            )
        except Error:
            return  # it keeps talking

    async def _look(self) -> dict[str, Any]:
        kinds: dict[str, Any] = {
            name: rules for name, rules in KINDS.items() if name in self._request.kinds
        }
        kinds |= {name: [[css, 1.0]] for name, css in self._request.selectors.items()}
        options = {
            "kinds": kinds,
            "limit": self._request.max_elements,
            "text": MAX_TEXT,
            "attribute": MAX_ATTRIBUTE,
            "ms": LOOK_SECONDS * 500,
        }
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                text = await self._session.page.evaluate(_SCRIPT, options)
        except TimeoutError:
            raise StepFailed("timeout", f"the page could not be read in {LOOK_SECONDS} s") from None
        except Error as error:
            raise StepFailed("script_error", str(error).split("\n", 1)[0]) from None
        found: dict[str, Any] = json.loads(text)
        return found

    def _take(self, raw: dict[str, Any], page_url: str) -> dict[str, Any] | None:
        """The element in the form of the outputs; None: it is not wanted or known already."""
        if raw["confidence"] < self._request.min_confidence:
            return None
        alike = json.dumps([raw["tag"], raw["text"][:50], raw["id"], raw["classes"][:50]])
        key = hashlib.sha256(alike.encode()).hexdigest()[:12]
        if known := self._elements.get(key):
            known["occurrences"] += 1
            return None
        if len(self._elements) >= self._request.max_elements:
            self._truncated = True
            return None
        found = raw["found"]
        element = {
            "id": f"el_{key}",
            "type": raw["kind"],
            "tag": raw["tag"],
            "text": raw["text"],
            "href": raw["href"],
            "selector": css_of(found),
            "xpath": found["xpath"]["value"],
            "attributes": raw["attributes"],
            "is_visible": raw["is_visible"],
            "is_interactive": raw["is_interactive"],
            "screenshot": None,
            "page_url": page_url,
            "locators": locators_of(found),
            "role": raw["role"],
            "confidence": raw["confidence"],
            "occurrences": 1,
        }
        self._elements[key] = element
        return element

    async def _pictures(self, number: int, elements: list[dict[str, Any]]) -> None:
        wanted, page = self._request.screenshots, self._session.page
        if wanted == "none":
            return
        try:
            await page.screenshot(
                path=self._session.artifacts / f"page-{number}.png", full_page=True
            )
            for element in elements if wanted == "elements" else ():
                if not element["is_visible"] or self._pictured() >= MAX_PICTURES:
                    continue
                name = f"elements/{element['id']}.png"
                target = page.locator(f"xpath={element['xpath']}")
                await target.screenshot(path=self._session.artifacts / name)
                element["screenshot"] = name
        except Error as error:
            self._report.say(f"  not every picture could be taken: {str(error).splitlines()[0]}")

    def _pictured(self) -> int:
        return sum(element["screenshot"] is not None for element in self._elements.values())

    def _conclude(self, not_visited: int) -> None:
        order = {kind: place for place, kind in enumerate(self._request.kinds)}
        elements = sorted(
            self._elements.values(), key=lambda element: order.get(element["type"], len(order))
        )
        by_kind: dict[str, int] = {}
        for element in elements:
            by_kind[element["type"]] = by_kind.get(element["type"], 0) + 1
        everything = json.dumps(elements, ensure_ascii=False, indent=1)
        (self._session.artifacts / "elements.json").write_text(everything)
        inline, size = [], 0
        for element in elements:
            size += len(json.dumps(element))
            if size > MAX_INLINE_BYTES:
                self._truncated = True
                break
            inline.append(element)
        self._report.outputs |= {
            "extracted_elements": inline,
            "count": len(elements),
            "by_type": by_kind,
            "pages": self._pages,
            "pages_not_visited": not_visited,
            "truncated": self._truncated,
        }
        more = "; not all of them: there were too many" if self._truncated else ""
        self._report.say(f"{len(elements)} elements on {len(self._pages)} pages{more}")


def _plain(url: str) -> str:
    return urldefrag(url).url.rstrip("/")


def _same_origin(url: str, first: str) -> bool:
    there, here = urlsplit(url), urlsplit(first)
    if there.scheme == "file":
        return here.scheme == "file" and there.path.endswith((".html", ".htm"))
    return (there.scheme, there.netloc) == (here.scheme, here.netloc)
