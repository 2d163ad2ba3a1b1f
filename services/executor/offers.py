"""What this executor offers beside running commands: the labels that its settings name and those that it earns.

It has the label `browser` where a `playwright` step would find a browser and the package that drives it, so that
`requires: [browser]` goes to the right executor by itself.
"""

from collections.abc import Mapping
from importlib.util import find_spec

import structlog

from services.executor.commands.reach import BrowserPlace
from services.executor.programs.browser.finding import find_browser, why_missing
from services.executor.settings import ExecutorGroup

BROWSER = "browser"

log = structlog.get_logger()


def with_offers(group: ExecutorGroup) -> ExecutorGroup:
    """The settings with the labels that this machine earns beside those that they name."""
    named = group.label_set()
    missing = _no_browser(group.browser(), group.inherited)
    if missing is None:
        labels = dict.fromkeys((*named, BROWSER))
        return group.model_copy(update={"labels": ",".join(labels)})
    if BROWSER in named:
        log.warning("executor.label_without_browser", detail=missing)
    else:
        log.info("executor.no_browser", detail=missing)
    return group


def _no_browser(place: BrowserPlace, inherited: Mapping[str, str]) -> str | None:
    """Why browser steps cannot run here; None: they can."""
    if find_browser(place.path, inherited.get("PATH")) is None:
        return why_missing(place.path)
    if find_spec("playwright") is None:
        return "the Python package 'playwright' is not installed here"
    return None
