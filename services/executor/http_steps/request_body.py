"""What is sent with a request, and how values become text in it."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = str | int | float | bool
Fields = Mapping[str, Scalar | list[Scalar]]


class HttpBody(BaseModel):
    """What is sent, in one of three forms."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    json_: Any = Field(None, alias="json", description="Any JSON value.")
    text: str | None = Field(None, description="A text as it is.")
    form: dict[str, Scalar | list[Scalar]] | None = Field(None, description="Fields of a form.")

    @model_validator(mode="after")
    def _one_form(self) -> "HttpBody":
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of: json, text, form")
        return self


def encoded(body: HttpBody | None) -> tuple[bytes | None, str | None]:
    """The bytes and their content type."""
    if body is None:
        return None, None
    if body.text is not None:
        return body.text.encode(), "text/plain; charset=utf-8"
    if body.form is not None:
        return form_text(body.form).encode(), "application/x-www-form-urlencoded"
    return json.dumps(body.json_, ensure_ascii=False).encode(), "application/json"


def form_text(fields: Fields) -> str:
    """Fields as a form or a query has them; a list repeats the name."""
    return urlencode(
        {
            name: [as_text(item) for item in value] if isinstance(value, list) else as_text(value)
            for name, value in fields.items()
        },
        doseq=True,
    )


def as_text(value: Scalar) -> str:
    """A text as it is, everything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)
