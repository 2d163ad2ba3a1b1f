"""The services: whether they answer, and which part of them is not well."""

from collections.abc import Iterator

from cli.client import Client
from cli.diagnosis.finding import Finding, note, ok, problem, trouble
from cli.exits import CliError, Refused
from cli.settings import CliSettings

NAMES = ("gateway", "executor", "extractor", "proxy", "scanner")
INSIDE = ("executor", "scanner")
"""Callers do not reach them, and the command line has no address for them but the sandbox's."""


def findings(settings: CliSettings) -> Iterator[Finding]:
    """One per service, and one per part that is not well."""
    given = {
        "gateway": settings.url,
        "proxy": settings.proxy_url,
        "extractor": settings.extractor_url,
    }
    for name in NAMES:
        if name not in INSIDE or settings.url is None:
            yield from _of(name, settings, required=given.get(name) is not None)


def _of(name: str, settings: CliSettings, *, required: bool) -> Iterator[Finding]:
    url = settings.service(name)
    try:
        with Client(url, settings.key(), timeout=5) as client:
            client.get("/health/ready")
    except Refused as refused:
        yield from _unwell(name, url, refused)
    except CliError:
        variable = "CADENZA_URL" if name == "gateway" else f"CADENZA_{name.upper()}_URL"
        fix = "Start it." if name in INSIDE else f"Start it, or mend the address in {variable}."
        yield trouble(name, f"{url} does not answer", fix, required=required)
    else:
        yield ok(name, f"{url} is ready")


def _unwell(name: str, url: str, refused: Refused) -> Iterator[Finding]:
    parts = refused.problem.get("parts")
    if not isinstance(parts, dict):
        yield note(name, f"{url} answers {refused.status}: is it a service of Cadenza?")
        return
    for part, state in parts.items():
        if state != "ok":
            yield problem(name, f"{url}: {part}: {state}", _advice(part, str(state)))


def _advice(part: str, state: str) -> str:
    if state.startswith("paused"):
        group = part.removeprefix("consume:")
        return f"Look at `cadenza dlq list`, mend what fails, then `cadenza dlq resume {group}`."
    if part in ("mongo", "kafka") or state.startswith("waiting"):
        return "Bring what it waits for back; it goes on by itself."
    if state in ("starting", "draining"):
        return "Wait a moment, or look into its log."
    return "Look into its log; a loop that stands still for long needs a restart of the process."
