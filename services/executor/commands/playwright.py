"""A browser script, or an existing suite of browser tests. A program of its own drives the browser."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from services.executor.commands.base import Command, CommandContext, Outcome, Params
from services.executor.programs.browser import reasons, steps
from services.executor.programs.browser.asking import run_browser
from services.executor.programs.browser.requests import (
    PageSettings,
    Recording,
    ScriptRequest,
    Viewport,
)
from services.executor.programs.browser.steps import BrowserStep
from services.executor.programs.suites import Suite, run_suite

LOCATORS = """## Locators

| written | means |
|---|---|
| `data-testid=x`, `text=x`, `role=button[name="x"]`, `css=…`, `xpath=…`, `id=x` | Playwright's engines, as they are |
| `label=x`, `placeholder=x`, `alt=x`, `title=x` | what has this label, placeholder, alternative text, title |
| `//…` | XPath |
| begins with `#`, `.` or `[`, or holds `>`, a blank or `[` | CSS |
| anything else | a test id: the attribute `data-testid` |

A locator must match one element, but for `assert_count` (and `assert_hidden`, which also holds when there is none)."""

RESULTS = """## Results

Outputs of a script: `steps` (each `step, action, title, status` passed, failed or skipped, `duration_ms`, `error`,
`error_kind`), `passed`, `failed`, `skipped`, `values` (what `save_as` kept), `url`, `title`, `console_errors` and
`failed_requests` (`count`, `first` 20), `dialogs`, `downloads`. A suite has `report`, the path of its JUnit XML inside
the working directory: `test-reports/<step>.xml`.

Artifacts: `failure-<step>.png`, `<step>-<name>.png`, `trace.zip` (open it with `npx playwright show-trace`),
`video-<n>.webm` (needs ffmpeg), `downloads/…`, `junit.xml`. Secrets are masked in the texts of a trace, not in
pictures.

`error_kind` is one of `not_found, hidden, visible, disabled, covered, several_matches, wrong_text, wrong_value,
wrong_count, wrong_url, wrong_title, timeout, navigation_failed, address_refused, host_refused, is_download,
no_such_page, page_closed, crashed, file_missing, bad_locator, script_error`."""


class PlaywrightParams(Params):
    """Run a script of browser steps in Chromium, or an existing suite of browser tests."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["steps"]}, {"required": ["suite"]}]}
    )

    steps: list[BrowserStep] = Field(default_factory=list, min_length=1, max_length=steps.MAX_STEPS)
    """What to do, one after the other; see "Actions"."""
    suite: Suite | None = None
    """An existing suite, instead of `steps`: `{runner: pytest or playwright, program, args, working_dir}`."""
    base_url: str | None = Field(None, min_length=1, max_length=8000)
    """Where relative addresses start. A suite sees it as `BASE_URL`."""
    viewport: Viewport = Viewport()
    """Size of the page: `{width: 1280, height: 720}`."""
    timeout_seconds: float = Field(5, gt=0, le=600)
    """Of each action and assertion: it is tried until then."""
    navigation_timeout_seconds: float = Field(30, gt=0, le=600)
    """Of opening a page."""
    continue_on_failure: bool = False
    """Go on after a failed step; the whole fails all the same."""
    trace: Recording = "retain-on-failure"
    """Record what happened, with pictures: `trace.zip`."""
    video: Recording = "off"
    """Film each page: `video-<n>.webm`."""
    screenshot_on_failure: bool = True
    """A picture of the page after each failed step: `failure-<step>.png`."""
    dialogs: Literal["accept", "dismiss"] = "dismiss"
    """How alerts, questions and prompts are answered until an action `dialogs` says otherwise."""
    storage_state: str | None = Field(None, min_length=1, max_length=4096)
    """Begin with the cookies and local storage of this file in the working directory."""
    save_storage_state: str | None = Field(None, min_length=1, max_length=4096)
    """Write cookies and local storage to this file in the working directory, for later steps."""
    ignore_https_errors: bool = False
    """Open pages whose certificate cannot be verified."""

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, data: Any) -> Any:
        if isinstance(data, dict) and ("steps" in data) == ("suite" in data):
            raise ValueError("give exactly one of: steps, suite")
        return data


class Playwright(Command[PlaywrightParams]):
    """Ends `failed(assertion_failed)`, `failed(action_failed)` or `failed(navigation_failed)` with the first step that
    failed, `failed(browser_missing)` where there is no browser; a suite ends `failed(tests_failed)`.
    """

    type = "playwright"
    params = PlaywrightParams

    @classmethod
    def details(cls) -> str:
        actions = f"## Actions\n\n{steps.reference()}"
        return f"{actions}\n\n{LOCATORS}\n\n{RESULTS}\n\n{reasons.table()}"

    async def run(self, params: PlaywrightParams, ctx: CommandContext) -> Outcome:
        if params.suite is not None:
            return await run_suite(params.suite, ctx, base_url=params.base_url)
        settings = params.model_dump(include=set(PageSettings.model_fields))
        return await run_browser(
            lambda browser: ScriptRequest(
                task="script",
                browser=browser,
                page=PageSettings.model_validate(settings),
                steps=tuple(params.steps),
                continue_on_failure=params.continue_on_failure,
                screenshot_on_failure=params.screenshot_on_failure,
                save_storage_state=params.save_storage_state,
            ),
            ctx,
        )
