"""Runs the steps of a script, one after the other, and tells how each ended."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from playwright.async_api import Error

from services.executor.programs.browser.acting import Doing, perform, picture
from services.executor.programs.browser.failures import REFUSED, StepFailed
from services.executor.programs.browser.report import Ended, Report
from services.executor.programs.browser.requests import ScriptRequest
from services.executor.programs.browser.session import Session
from services.executor.programs.browser.steps import BrowserStep

LOOK_SECONDS = 3
TOLD = 20
"""Console errors and failed requests in the outputs; more are only counted."""


class Script:
    """One script on its way."""

    def __init__(self, request: ScriptRequest, session: Session, report: Report) -> None:
        self._request = request
        self._session = session
        self._report = report
        self._results: list[dict[str, Any]] = []
        self._values: dict[str, Any] = {}
        self._first: tuple[int, BrowserStep, StepFailed] | None = None
        report.outputs |= {"steps": self._results, "values": self._values}

    async def run(self) -> None:
        """Every step; then the summary. Raises Ended when one failed or the browser was lost."""
        lost: Ended | None = None
        for number, step in enumerate(self._request.steps, start=1):
            if lost or (self._first and not self._request.continue_on_failure):
                self._tell(number, step, "skipped")
                continue
            try:
                await self._step(number, step)
            except Ended as ended:
                lost = ended
        await self._conclude()
        if lost is not None:
            raise lost
        if self._first is not None:
            number, step, failed = self._first
            raise Ended(_reason(step, failed), f"step {number} ({step.title}): {failed}")

    async def _step(self, number: int, step: BrowserStep) -> None:
        begun = time.monotonic()
        try:
            await self._session.unless_lost(
                perform(Doing(step, self._session, self._values, number))
            )
        except StepFailed as failed:
            ms = _since(begun)
            await self._look(number)
            if lost := self._session.lost:
                self._tell(number, step, "failed", ms, StepFailed("crashed", str(lost)))
                raise lost from None
            self._first = self._first or (number, step, failed)
            self._tell(number, step, "failed", ms, failed)
        except Ended as ended:
            self._tell(number, step, "failed", _since(begun), StepFailed("crashed", str(ended)))
            raise
        else:
            self._tell(number, step, "passed", _since(begun))

    def _tell(
        self,
        number: int,
        step: BrowserStep,
        status: str,
        ms: int | None = None,
        failed: StepFailed | None = None,
    ) -> None:
        result = {"step": number, "action": step.action, "title": step.title, "status": status}
        result |= {"duration_ms": ms or 0}
        if failed is not None:
            result |= {"error": str(failed), "error_kind": failed.kind}
        self._results.append(result)
        sign = {"passed": "✓", "failed": "✗", "skipped": "-"}[status]
        took = f" ({ms} ms)" if ms is not None else ""
        more = f": {failed}" if failed is not None else ""
        self._report.say(f"{sign} {number}/{len(self._request.steps)} {step.title}{took}{more}")

    async def _look(self, number: int) -> None:
        """A picture, or at least a question: what the browser told meanwhile is heard by then. The page may be what is
        wrong, so nothing depends on it.
        """
        page = self._session.page
        with suppress(Error, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                if self._request.screenshot_on_failure:
                    await page.screenshot(path=picture(self._session, f"failure-{number:02d}"))
                else:
                    await page.title()

    async def _conclude(self) -> None:
        session = self._session
        with suppress(Error, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                self._report.outputs |= {
                    "url": session.page.url,
                    "title": await session.page.title(),
                }
                if self._request.save_storage_state:
                    await self._save_state(self._request.save_storage_state)
        await session.keep(failed=self._first is not None or session.lost is not None)
        counts = {
            status: sum(result["status"] == status for result in self._results)
            for status in ("passed", "failed", "skipped")
        }
        self._report.outputs |= {
            **counts,
            "console_errors": _told(session.console_errors),
            "failed_requests": _told(session.failed_requests),
            "dialogs": session.dialogs,
            "downloads": list(session.downloads.values()),
        }
        self._report.say(
            f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped;"
            f" {len(session.console_errors)} console errors, {len(session.failed_requests)} failed requests"
        )
        for line in (*session.console_errors[:TOLD], *session.failed_requests[:TOLD]):
            self._report.say(f"  {line}")

    async def _save_state(self, name: str) -> None:
        from pathlib import Path

        await self._session.context.storage_state(path=Path(self._session.where.working_dir, name))


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _told(lines: list[str]) -> dict[str, Any]:
    return {"count": len(lines), "first": lines[:TOLD]}


def _reason(step: BrowserStep, failed: StepFailed) -> str:
    if failed.kind in (*REFUSED, "navigation_failed"):
        return failed.kind
    return "assertion_failed" if step.action.startswith("assert_") else "action_failed"
