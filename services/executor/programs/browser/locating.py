"""How a text names an element.

`data-testid=x` and other engines (`text=`, `role=`, `css=`, `xpath=`, `id=`) are used as they are; `label=`,
`placeholder=`, `alt=`, `title=` find by those; `//` begins an XPath; a leading `#`, `.` or `[`, or any `>`, blank or
`[` means CSS; anything else is a test id.
"""

import re

from playwright.async_api import FrameLocator, Locator, Page

_ENGINE = re.compile(r"(?:css|xpath|text|id|role|data-testid|data-test-id|data-test)=")
_CSS = re.compile(r"[#.]|.*[>\s\[]", re.DOTALL)
_BY = re.compile(r"(label|placeholder|alt|title)=(.+)", re.DOTALL)


def locate(within: Page | FrameLocator, element: str) -> Locator:
    """The locator that `element` stands for."""
    if _ENGINE.match(element):
        return within.locator(element)
    if found := _BY.fullmatch(element):
        return _by(within, *found.groups())
    if element.startswith("//"):
        return within.locator(f"xpath={element}")
    if _CSS.match(element):
        return within.locator(f"css={element}")
    return within.get_by_test_id(element)


def _by(within: Page | FrameLocator, what: str, text: str) -> Locator:
    match what:
        case "label":
            return within.get_by_label(text)
        case "placeholder":
            return within.get_by_placeholder(text)
        case "alt":
            return within.get_by_alt_text(text)
    return within.get_by_title(text)
