"""What commands reach out with beside processes: one port for each thing outside, offered in `CommandContext.reach`.

The ports know no driver; `services/executor/clients/` has what stands behind them. A command whose port is not there
(the embedded library, a test) ends `failed(not_available)`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class KeptFiles(Protocol):
    """What the platform keeps for a tenant: artifacts and uploads."""

    async def fetch(self, uri: str, into: Path, *, tenant: str) -> None:
        """Write the bytes behind an address into a file. Raises NotFound, also for what is another tenant's, and
        StorageUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class AwsProgram:
    """Which `aws` program there is, and where it goes."""

    program: str = "aws"
    """A name to be found on PATH, or a path."""
    endpoint_url: str | None = None
    """Instead of AWS itself; None: AWS."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The ports that this executor offers; None: it has none of the kind."""

    aws: AwsProgram = AwsProgram()
    files: KeptFiles | None = None
