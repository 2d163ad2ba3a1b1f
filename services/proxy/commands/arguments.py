"""Argument types that several commands share."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

Element = Annotated[
    str,
    Field(min_length=1, max_length=4096, examples=["Login button"]),
]
"""What a person would call the element: its label, text or hint. Never read as CSS or XPath."""

Variable = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]*$", max_length=255),
    Field(examples=["username"]),
]
"""Name of a variable, without `$`: Virtuoso refuses the sign, quotes and blanks (code 2605)."""

Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s]+$", max_length=8192),
    Field(examples=["https://example.com/login"]),
]
"""An absolute http or https address."""

Corner = Literal[
    "TOP_LEFT",
    "TOP_CENTER",
    "TOP_RIGHT",
    "CENTER_LEFT",
    "CENTER",
    "CENTER_RIGHT",
    "BOTTOM_LEFT",
    "BOTTOM_CENTER",
    "BOTTOM_RIGHT",
]
"""Part of the page in which to look for the element."""

Text = Annotated[str, Field(max_length=65_536)]
