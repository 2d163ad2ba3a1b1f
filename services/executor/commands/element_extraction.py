"""The elements of a web page and of those that it leads to, with locators by which tests may find them."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from services.executor.commands.base import Command, CommandContext, Outcome, Params
from services.executor.programs.browser.asking import run_browser
from services.executor.programs.browser.locators import SCORES
from services.executor.programs.browser.profiles import (
    KINDS,
    MAX_DEPTH,
    MAX_PAGES,
    PROFILES,
    Kind,
    ProfileName,
)
from services.executor.programs.browser.reasons import OF_BROWSERS, table
from services.executor.programs.browser.requests import ExtractionRequest, PageSettings, Viewport


class ElementExtractionParams(Params):
    """Find the elements of a web page, with scored locators."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["url"]}, {"required": ["web_page_url"]}]}
    )

    url: str = Field("", min_length=1, max_length=8000)
    """The first page."""
    web_page_url: str = Field("", min_length=1, max_length=8000)
    """The same, by the name that the app `ui_web_auto_testing` uses."""
    profile: ProfileName = "qa_automation_tester"
    """Who looks: how deep, how many pages, how sure, which kinds."""
    scan: Literal["profile", "quick", "deep"] = "profile"
    """`quick`: the first page alone; `deep`: a step deeper than the profile and ten pages more."""
    depth: int | None = Field(None, ge=1, le=MAX_DEPTH)
    """Pages on the way from the first, which is 1; null: the profile's."""
    max_pages: int | None = Field(None, ge=1, le=MAX_PAGES)
    """null: the profile's."""
    min_confidence: float | None = Field(None, ge=0, le=1)
    """How sure an element's kind must be; null: the profile's."""
    kinds: list[Kind] = Field(default_factory=list, max_length=100)
    """Only these; []: what the profile does not ignore."""
    selectors: dict[str, str] = Field(default_factory=dict, max_length=50)
    """Kinds of your own: name → CSS selector."""
    max_elements: int = Field(500, ge=1, le=5_000)
    """Of all pages together."""
    screenshots: Literal["none", "pages", "elements"] = "none"
    """Pictures to keep: of each page, or of each page and each visible element (at most 200)."""
    viewport: Viewport = Viewport()
    """Size of the page: `{width: 1280, height: 720}`."""
    navigation_timeout_seconds: float = Field(30, gt=0, le=600)
    """Of opening a page; it is tried three times, 1 s and 2 s apart."""
    storage_state: str | None = Field(None, min_length=1, max_length=4096)
    """Begin with the cookies of this file in the working directory, as a `playwright` step leaves it."""
    ignore_https_errors: bool = False
    """Open pages whose certificate cannot be verified."""

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, data: Any) -> Any:
        if isinstance(data, dict) and ("url" in data) == ("web_page_url" in data):
            raise ValueError("give exactly one of: url, web_page_url")
        return data


class ElementExtraction(Command[ElementExtractionParams]):
    """Goes no further than the first page's origin. Ends `failed(navigation_failed)` when that page cannot be opened,
    `failed(browser_missing)` where there is no browser; later pages that fail are told in `pages`.
    """

    type = "element_extraction"
    params = ElementExtractionParams

    @classmethod
    def details(cls) -> str:
        return _details()

    async def run(self, params: ElementExtractionParams, ctx: CommandContext) -> Outcome:
        depth, pages = _reach_of(params)
        profile = PROFILES[params.profile]
        confidence = params.min_confidence
        settings = params.model_dump(include=set(PageSettings.model_fields))
        return await run_browser(
            lambda browser: ExtractionRequest(
                task="extraction",
                browser=browser,
                page=PageSettings.model_validate({**settings, "downloads": False}),
                url=params.url or params.web_page_url,
                depth=depth,
                max_pages=pages,
                max_elements=params.max_elements,
                min_confidence=profile.confidence if confidence is None else confidence,
                kinds=_kinds_of(params),
                selectors=params.selectors,
                screenshots=params.screenshots,
            ),
            ctx,
        )


def _reach_of(params: ElementExtractionParams) -> tuple[int, int]:
    """Depth and pages."""
    profile = PROFILES[params.profile]
    depth, pages = {
        "quick": (1, 1),
        "deep": profile.deeper(),
    }.get(params.scan, (profile.depth, profile.pages))
    return params.depth or depth, params.max_pages or pages


def _kinds_of(params: ElementExtractionParams) -> tuple[str, ...]:
    """In order of priority."""
    if params.kinds:
        return tuple(params.kinds)
    profile = PROFILES[params.profile]
    others = (kind for kind in KINDS if kind not in (*profile.priority, *profile.ignored))
    return (*profile.priority, *others)


HEAD = """## Profiles

| profile | depth | pages | confidence | first | ignored |
|---|---|---|---|---|---|"""
KINDS_HEAD = """## Kinds

The surest rule that finds an element says its kind; of equally sure ones, the first.

| kind | CSS rules (confidence) |
|---|---|"""
LOCATORS = """A text of 3 to 49 characters counts only when it is unique. Every `value` can be used as `element` of a
`playwright` step."""
NO_REASONS = {"assertion_failed", "action_failed", "tests_failed", "no_tests"}
"""Of scripts and suites only."""
RESULTS = """## Results

Outputs: `extracted_elements` (each `id, type, tag, text, href, selector, xpath, attributes, is_visible, is_interactive,
screenshot, page_url, locators, role, confidence, occurrences`), `count`, `by_type`, `pages` (each `url, loaded,
elements` and `title` or `error`), `pages_not_visited`, `truncated`.

Elements with the same tag, text (50 characters), id and class (50 characters) are one. Artifacts: `elements.json` with
all of them, `page-<n>.png`, `elements/<id>.png`."""


def _details() -> str:
    profiles = [
        f"| `{name}` | {p.depth} | {p.pages} | {p.confidence} | {', '.join(p.priority)} | {', '.join(p.ignored)} |"
        for name, p in PROFILES.items()
    ]
    kinds = [
        f"| `{name}` | {'; '.join(f'`{css}` ({sure})' for css, sure in rules)} |"
        for name, rules in KINDS.items()
    ]
    scores = [
        f"| {name} | {unique} | {shared or '-'} |" for name, (unique, shared) in SCORES.items()
    ]
    scored = [
        "## Locators",
        "",
        "| strategy | score when unique | when not |",
        "|---|---|---|",
        *scores,
    ]
    return "\n".join(
        [
            HEAD,
            *profiles,
            "",
            KINDS_HEAD,
            *kinds,
            "",
            *scored,
            "",
            LOCATORS,
            "",
            RESULTS,
            "",
            table(r for r in OF_BROWSERS if r not in NO_REASONS),
        ]
    )
