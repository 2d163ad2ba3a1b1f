"""What is asked of the browser program: a script or an extraction, and the browser to do it with."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from services.executor.programs.browser.steps import BrowserStep

_MODES = ["on", "off", "retain-on-failure"]


def _yaml_word(value: Any) -> Any:
    """YAML reads `on` and `off` as true and false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


Recording = Annotated[
    Literal["on", "off", "retain-on-failure"],
    BeforeValidator(_yaml_word),
    WithJsonSchema({"anyOf": [{"enum": _MODES}, {"type": "boolean"}]}),
]


class Part(BaseModel):
    """Unknown fields are mistakes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


class Viewport(Part):
    """Size of the page in CSS pixels."""

    width: int = Field(1280, ge=100, le=7680)
    height: int = Field(720, ge=100, le=4320)


class BrowserRequest(Part):
    """The browser, and where things are on disk."""

    program: str
    sandbox: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("http", "https")
    folder: str
    """Private to this program."""
    working_dir: str
    artifacts: str | None
    outputs: str
    secrets: tuple[str, ...] = ()
    """To be masked in traces."""


class PageSettings(Part):
    """How pages are opened."""

    viewport: Viewport = Viewport()
    timeout_seconds: float = 5
    navigation_timeout_seconds: float = 30
    storage_state: str | None = None
    ignore_https_errors: bool = False
    downloads: bool = True
    """False: files that a page wants to leave are not taken."""
    dialogs: Literal["accept", "dismiss"] = "dismiss"
    base_url: str | None = None
    trace: Recording = "off"
    video: Recording = "off"


class ScriptRequest(Part):
    """Run these steps."""

    task: Literal["script"] = "script"
    browser: BrowserRequest
    page: PageSettings
    steps: tuple[BrowserStep, ...]
    continue_on_failure: bool = False
    screenshot_on_failure: bool = True
    save_storage_state: str | None = None


class ExtractionRequest(Part):
    """Find the elements of a page and of those that it leads to."""

    task: Literal["extraction"] = "extraction"
    browser: BrowserRequest
    page: PageSettings
    url: str
    depth: int
    max_pages: int
    max_elements: int
    min_confidence: float
    kinds: tuple[str, ...]
    """In order of priority."""
    selectors: dict[str, str] = Field(default_factory=dict)
    screenshots: Literal["none", "pages", "elements"] = "none"


Request = Annotated[ScriptRequest | ExtractionRequest, Field(discriminator="task")]
