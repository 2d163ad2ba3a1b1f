"""Why a run gets no files: each a reason with which it ends."""

from shared.errors import PermanentError


class SourceFailed(PermanentError):
    """A source could not be fetched."""

    code = "source_failed"


class SourceRefused(PermanentError):
    """A source lies where this executor's sources may not come from."""

    code = "address_refused"


class SourceMissing(PermanentError):
    """There is no such repository, branch, commit, folder or upload."""

    code = "source_missing"


class SourceTooLarge(PermanentError):
    """A source has more bytes or files than an executor takes."""

    code = "source_too_large"


class UnsafeArchive(PermanentError):
    """An archive holds something that could leave its folder, or that is no file, folder or link."""

    code = "unsafe_archive"
