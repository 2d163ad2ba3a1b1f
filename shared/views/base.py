"""What every read model is: a frozen pydantic model of the fields that a reader may rely on.

The owner of a collection may keep more in its documents; a reader asks for `projection()` and sees only these. Fields
are added with a default, never renamed: the owner's contract test proves that what it writes validates here.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """A document as another service may read it."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        serialize_by_alias=False,
        use_attribute_docstrings=True,
        defer_build=True,
    )

    @classmethod
    def projection(cls) -> dict[str, int]:
        """The MongoDB projection that brings what the model needs and nothing else."""
        return {str(field.validation_alias or name): 1 for name, field in cls.model_fields.items()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises pydantic's ValidationError when the document breaks the contract."""
        return cls.model_validate(document)
