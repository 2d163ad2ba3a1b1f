"""`python -m services.executor.programs.browser <request>`: does what the request asks, leaves outputs and artifacts.

Exit code 0: done; 1: it failed, and the outputs say why.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from pydantic import TypeAdapter

from services.executor.programs.browser.report import Ended, Report
from services.executor.programs.browser.requests import ExtractionRequest, Request, ScriptRequest


def take(file: Path) -> ScriptRequest | ExtractionRequest:
    """The request. It may hold secrets, so its file goes at once."""
    text = file.read_bytes()
    file.unlink()
    request: ScriptRequest | ExtractionRequest = TypeAdapter(Request).validate_json(text)
    os.chdir(request.browser.folder)  # see `asking.py`: this is where temporary files go
    return request


async def main(request: ScriptRequest | ExtractionRequest) -> int:
    """The exit code."""
    report = Report(Path(request.browser.outputs))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, report.stop)
    try:
        await _do(request, report)
    except Ended as ended:
        return report.end(ended)
    return report.end(None)


async def _do(request: ScriptRequest | ExtractionRequest, report: Report) -> None:
    try:
        from services.executor.programs.browser.session import Session
    except ImportError:
        message = "the Python package 'playwright' is not installed here: pip install playwright"
        raise Ended("browser_missing", message) from None
    async with Session(request.browser, request.page, report) as session:
        if isinstance(request, ScriptRequest):
            from services.executor.programs.browser.script import Script

            await Script(request, session, report).run()
        else:
            from services.executor.programs.browser.crawling import Crawl

            await Crawl(request, session, report).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(take(Path(sys.argv[1])))))
