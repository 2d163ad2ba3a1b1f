"""Uploads as the gateway keeps them: an archive or another file, known by the SHA-256 of its bytes."""

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View

UPLOADS = "uploads"
STORED = "stored"
"""Only uploads in this state are there for others: before it bytes may be missing, after it they are being removed."""


class UploadView(View):
    """What was uploaded."""

    sha256: str
    name: str | None = None
    size_bytes: int
    created_at: Moment
    created_by: str
    expires_at: Moment | None = None
    """Removed after this, unless it is used or uploaded again before."""


class StoredUpload(View):
    """Where its bytes are."""

    sha256: str
    size_bytes: int
    uri: str = Field(repr=False)
