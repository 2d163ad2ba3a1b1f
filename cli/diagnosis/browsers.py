"""Whether steps of the types `playwright` and `element_extraction` find what they need."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

from cli.diagnosis.finding import Finding, note, ok, problem, trouble
from services.executor.programs.browser.finding import HOW, find_browser, why_missing
from services.executor.settings import ExecutorSettings
from shared.errors import ConfigurationError
from shared.settings import load


def findings() -> Iterator[Finding]:
    """A browser is a problem only where the settings name one."""
    try:
        place = load(ExecutorSettings).executor.browser()
    except ConfigurationError:
        return  # said elsewhere
    found = find_browser(place.path, None)
    if found is None:
        required = place.path is not None
        yield trouble("browser", why_missing(place.path), HOW, required=required)
        return
    if find_spec("playwright") is None:
        fix = "Run pip install playwright in the executor's environment."
        yield problem("browser", f"{found}, but the Python package playwright is missing", fix)
        return
    yield ok("browser", found)
    if shutil.which("ffmpeg") is None:
        yield note("browser", "no ffmpeg: browser steps record no videos", "apt-get install ffmpeg")
