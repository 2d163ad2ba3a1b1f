"""What can go wrong in the sandbox, each as one sentence that a person can act on."""

from shared.errors import CadenzaError


class SandboxError(CadenzaError):
    """The sandbox cannot start."""

    code = "sandbox"


class PortTaken(SandboxError):
    """A port that the sandbox needs is in use."""

    code = "port_taken"


class DiskFull(SandboxError):
    """There is not enough room on the disk."""

    code = "disk_full"


class FetchFailed(SandboxError):
    """A part could not be fetched."""

    code = "fetch_failed"


class ChecksumMismatch(SandboxError):
    """A fetched file is not the one that was expected."""

    code = "checksum_mismatch"


class UnsupportedPlatform(SandboxError):
    """An embedded part does not run on this platform."""

    code = "unsupported_platform"
