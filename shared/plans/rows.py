"""Plans that run once for each row of a table: where the rows come from, and what `${{ row.x }}` may name.

Such a plan's execution has one step, `lanes`; each row is a child execution of the plan's own steps.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from shared.errors import FieldError
from shared.ids import child_id
from shared.plans.mistakes import hint, shown

MAX_ROWS = 10_000
LANES = "lanes"
"""The name, and the command type, of the step that stands for all rows."""
LANES_STEP = 1
"""Its number: there is no other."""

Row = dict[str, Any]
Column = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_\-]+$")]


class RowsPart(BaseModel):
    """An unknown field is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


class ArtifactTable(RowsPart):
    """A table that a run has kept as an artifact: CSV with a header, or a JSON list of objects."""

    execution_id: str = Field(min_length=1, max_length=64)
    artifact: str = Field(min_length=1, max_length=255)
    """Its name."""
    format: Literal["csv", "json"] | None = None
    """None: as the name ends."""


class UploadTable(RowsPart):
    """A table that was uploaded: CSV with a header, or a JSON list of objects."""

    upload: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of its bytes: what `cadenza upload` prints."""
    format: Literal["csv", "json"] = "csv"


class Matrix(RowsPart):
    """Every combination of the values of its axes."""

    axes: dict[Column, Annotated[list[Any], Field(min_length=1, max_length=1000)]] = Field(
        min_length=1, max_length=16
    )
    exclude: list[Row] = Field(default_factory=list, max_length=1000)
    """Combinations with all of these values are left out."""
    include: list[Row] = Field(default_factory=list, max_length=1000)
    """Rows of their own, after the combinations."""


Table = Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]
TAGS = ("rows", "artifact", "upload")


def _kind(data: Any) -> str:
    """Which of the three forms somebody meant, so that what is wrong is told of this one only."""
    if isinstance(data, UploadTable) or (isinstance(data, Mapping) and "upload" in data):
        return "upload"
    return "artifact" if isinstance(data, Mapping | ArtifactTable) else "rows"


Data = Annotated[
    Annotated[Table, Tag("rows")]
    | Annotated[ArtifactTable, Tag("artifact")]
    | Annotated[UploadTable, Tag("upload")],
    Discriminator(_kind),
]
"""Where the rows of `data` come from."""


def combinations(matrix: Matrix) -> list[Row]:
    """The rows of a matrix, the last axis varying fastest."""
    products = itertools.product(*matrix.axes.values())
    rows = [dict(zip(matrix.axes, values, strict=True)) for values in products]
    return [row for row in rows if not _is_excluded(row, matrix.exclude)] + matrix.include


def _is_excluded(row: Row, exclude: Sequence[Row]) -> bool:
    return any(all(row.get(name) == value for name, value in one.items()) for one in exclude)


def check_rows(
    data: list[Row] | ArtifactTable | UploadTable | None, matrix: Matrix | None, prefix: str
) -> list[FieldError]:
    """Rows come from one place, and there are not too many and not none of them."""
    if data is not None and matrix is not None:
        return [FieldError(f"{prefix}matrix", "one_of", "give either data or matrix")]
    if matrix is None:
        return []
    size = len(matrix.include)
    product = 1
    for values in matrix.axes.values():
        product *= len(values)
    if product + size > MAX_ROWS:
        message = f"has {product + size} combinations; at most {MAX_ROWS} are allowed"
        return [FieldError(f"{prefix}matrix.axes", "too_long", message)]
    if not combinations(matrix):
        return [FieldError(f"{prefix}matrix.exclude", "too_short", "leaves no combination")]
    return []


def columns_of(
    data: list[Row] | ArtifactTable | UploadTable | None, matrix: Matrix | None
) -> frozenset[str] | None:
    """What `${{ row.x }}` may name; None: known only when the table is read."""
    if matrix is not None:
        return frozenset(itertools.chain(matrix.axes, *matrix.include))
    if isinstance(data, ArtifactTable | UploadTable):
        return None
    return frozenset(itertools.chain(*(data or ())))


def wrong_column(name: str, columns: frozenset[str] | None) -> tuple[str, str] | None:
    """What is wrong with a reference to the column `name`."""
    if columns is None or name in columns:
        return None
    if not columns:
        return "unknown_column", "there is no row: the plan has neither data nor matrix"
    return "unknown_column", f"no row has '{shown(name)}'{hint(name, columns)}"


def has_rows(plan: Mapping[str, Any]) -> bool:
    """Whether a plan, as its caller wrote it, runs once for each row."""
    return plan.get("data") is not None or plan.get("matrix") is not None


def lane_run(execution_id: str, lane: int) -> str:
    """The id of the run that is a lane of an execution."""
    return child_id(execution_id, LANES_STEP, lane)


def steps_of(plan: Mapping[str, Any] | None) -> Any:
    """What the execution of a plan, as its caller wrote it, has as steps."""
    if plan is not None and has_rows(plan):
        return [{"name": LANES, "command": {"type": LANES}}]
    return (plan or {}).get("steps")


def without_rows(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of one lane."""
    return {k: v for k, v in plan.items() if k not in ("data", "matrix", "max_lanes")}
