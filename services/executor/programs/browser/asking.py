"""How a command asks the browser program for something."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from services.executor.commands.base import CommandContext
from services.executor.commands.outcome import Outcome, failed
from services.executor.programs.browser.finding import HOW, find_browser, why_missing
from services.executor.programs.browser.requests import (
    BrowserRequest,
    ExtractionRequest,
    ScriptRequest,
)
from services.executor.programs.starting import ProgramFolder, run_program

HERE = "/proc/self/cwd"

Ask = Callable[[BrowserRequest], ScriptRequest | ExtractionRequest]


async def run_browser(ask: Ask, ctx: CommandContext) -> Outcome:
    """Run the browser program to its end; `failed(browser_missing)` where there is no browser. The memory limit binds
    the program and its browser together: one on address space would only break it.
    """
    place = ctx.reach.browser
    program = find_browser(place.path, ctx.env.get("PATH"))
    if program is None:
        return failed("browser_missing", f"{why_missing(place.path)}. {HOW}.")

    def request(folder: ProgramFolder) -> ScriptRequest | ExtractionRequest:
        return ask(
            BrowserRequest(
                program=program,
                sandbox=place.sandbox,
                allowed_hosts=place.allowed_hosts,
                allowed_networks=tuple(str(network) for network in place.allowed_networks),
                schemes=place.schemes,
                folder=str(folder.root),
                working_dir=str(ctx.working_dir),
                artifacts=str(ctx.artifacts_dir) if ctx.artifacts_dir else None,
                outputs=str(folder.outputs),
                secrets=tuple(ctx.redactor.known),
            )
        )

    limits = replace(ctx.limits, address_space=False)
    return await run_program("browser", request, replace(ctx, limits=limits), env=_browsers)


def _browsers(folder: ProgramFolder) -> Mapping[str, str]:
    """Playwright shall fetch nothing and use nothing that others have fetched. Browsers put a socket into the folder
    for temporary files, and its path may have 107 characters: so that is the program's working directory, by its short
    name.
    """
    env = {"PLAYWRIGHT_BROWSERS_PATH": str(folder.root / "browsers")}
    return env | ({"TMPDIR": HERE} if Path(HERE).exists() else {})
