"""A browser, a web site, and a way to run a step against them."""

import os
import time
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from services.executor.commands.base import Outcome
from services.executor.commands.reach import BrowserPlace, Reach
from services.executor.commands.registry import build_registry
from services.executor.programs.browser.finding import HOW, find_browser
from tests.integration.executor.browser.site import serving
from tests.unit.executor.processes.contexts import a_context

REGISTRY = build_registry()
HERE = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""Where the site of these tests is."""


@pytest.fixture(scope="session", autouse=True)
def browser() -> str:
    """The browser's program."""
    program = find_browser(os.environ.get("EXECUTOR__BROWSER_PATH"))
    if program is None:
        pytest.skip(f"there is no browser here: {HOW}")
    return program


@pytest.fixture(scope="module")
def site():
    with serving() as server:
        yield server


@dataclass(frozen=True)
class Ran:
    """A step that has ended, with what it left."""

    outcome: Outcome
    printed: str
    kept: Path

    @property
    def end(self):
        return self.outcome.status, self.outcome.reason

    @property
    def steps(self):
        return self.outcome.outputs["steps"]

    def files(self):
        return sorted(str(p.relative_to(self.kept)) for p in self.kept.rglob("*") if p.is_file())


def context(folder: Path, *, place=None, timeout=100, **fields):
    """A command context with folders for work and artifacts, and what is printed."""
    work, kept = folder / "work", folder / "artifacts"
    for path in (work, kept):
        path.mkdir(exist_ok=True)
    ctx, printed = a_context(work, timeout=timeout, artifacts_dir=kept, grace=3, **fields)
    ctx = replace(ctx, reach=Reach(browser=place or BrowserPlace(allowed_networks=HERE)))
    return replace(ctx, output_file=folder / "outputs.jsonl"), printed, kept


async def run(folder: Path, type_: str, arguments: dict, **fields) -> Ran:
    ctx, printed, kept = context(folder, **fields)
    begun = time.monotonic()
    outcome = await REGISTRY.get(type_).execute(arguments, ctx)
    print(f"{time.monotonic() - begun:.1f} s\n{printed.stdout}{printed.stderr}{outcome.error}")
    return Ran(outcome, printed.stdout + printed.stderr, kept)
