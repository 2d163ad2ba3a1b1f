"""Who looks at a site, and what that person looks for: how deep, how many pages, how sure an element's kind must be."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema

ProfileName = Literal[
    "qa_manual_tester",
    "qa_automation_tester",
    "ux_designer",
    "ui_designer",
    "frontend_developer",
    "accessibility_auditor",
]

MAX_DEPTH, MAX_PAGES = 5, 50


@dataclass(frozen=True, slots=True)
class Profile:
    """`depth` counts pages on the way: 1 is the first page alone. Elements of `priority` kinds come first."""

    depth: int
    pages: int
    confidence: float
    priority: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def deeper(self) -> tuple[int, int]:
        """Depth and pages of a deep scan."""
        return min(self.depth + 1, MAX_DEPTH), min(self.pages + 10, MAX_PAGES)


PROFILES: dict[str, Profile] = {
    "qa_manual_tester": Profile(
        3, 20, 0.7, ("form", "button", "input", "link", "navigation"), ("media",)
    ),
    "qa_automation_tester": Profile(
        2,
        15,
        0.8,
        ("button", "input", "dropdown", "checkbox", "radio", "form", "link"),
        ("media", "heading"),
    ),
    "ux_designer": Profile(4, 25, 0.6, ("navigation", "link", "form", "modal", "search", "tab")),
    "ui_designer": Profile(3, 20, 0.6, ("button", "media", "heading", "modal", "tab", "input")),
    "frontend_developer": Profile(
        2, 15, 0.8, ("input", "button", "form", "table", "modal", "frame")
    ),
    "accessibility_auditor": Profile(
        4, 30, 0.9, ("input", "button", "link", "media", "heading", "form", "navigation", "table")
    ),
}

KINDS: dict[str, tuple[tuple[str, float], ...]] = {
    "button": (
        (
            "button, input[type=button], input[type=submit], input[type=reset], input[type=image]",
            0.95,
        ),
        ("[role=button]", 0.9),
        (".btn, .button", 0.65),
    ),
    "search": (("input[type=search]", 0.95), ("[role=search] input, [role=searchbox]", 0.9)),
    "checkbox": (("input[type=checkbox]", 0.95), ("[role=checkbox], [role=switch]", 0.9)),
    "radio": (("input[type=radio]", 0.95), ("[role=radio]", 0.9)),
    "input": (
        ("input:not([type=hidden]), textarea", 0.95),
        ("[role=textbox], [contenteditable=true]", 0.9),
    ),
    "dropdown": (("select", 0.95), ("[role=combobox], [role=listbox]", 0.9), (".dropdown", 0.65)),
    "tab": (("[role=tab]", 0.9), (".tab, .nav-tabs a", 0.65)),
    "pagination": (
        ("[role=navigation][aria-label*=pagination i], nav[aria-label*=pagination i]", 0.9),
        (".pagination, .pager", 0.8),
    ),
    "link": (("a[href]", 0.95), ("[role=link]", 0.9)),
    "form": (("form", 0.95), ("[role=form]", 0.9)),
    "navigation": (("nav", 0.95), ("[role=navigation]", 0.9), (".navbar, .menu", 0.65)),
    "table": (("table", 0.95), ("[role=table], [role=grid]", 0.9)),
    "modal": (("dialog", 0.95), ("[role=dialog], [role=alertdialog]", 0.9), (".modal", 0.65)),
    "heading": (("h1, h2, h3", 0.95), ("[role=heading]", 0.9)),
    "media": (("img, video, audio", 0.95), ("[role=img]", 0.9)),
    "frame": (("iframe", 0.95),),
}
"""Kind → CSS rules with the confidence that what they find is of this kind: by tag, by role, by class. An element is
of the first kind that finds it, so the special ones come before the general ones."""


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"there is no kind '{kind}'; known: {', '.join(KINDS)}")
    return kind


Kind = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(KINDS)})]
