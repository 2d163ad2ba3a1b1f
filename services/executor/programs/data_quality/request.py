"""What the program is asked to do, and how it fails."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Format = Literal["auto", "csv", "parquet", "json"]
REPORT = "data-quality-report.json"
FAILED = 3
"""Exit code when the source cannot be used; the outputs say why."""
END = "cadenza_end"
"""Key of the outputs under which the program says why it failed: `{"reason": …, "error": …}`."""


class ProfileRequest(BaseModel):
    """One table to be profiled. `path` is the file, `report` where the report goes, `outputs` where the outputs go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    report: str
    outputs: str
    format: Format = "auto"
    sample_rows: int = 10_000
    delimiter: str | None = None
    header: bool = True


class Unusable(Exception):
    """The source cannot be profiled; `reason` is a stable word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
