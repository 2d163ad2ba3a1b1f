"""What the operator allows sources to be. Durations are seconds, sizes bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.addresses import AddressPolicy

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    """How much one source may bring."""

    bytes: int
    files: int
    """Folders and links count as well."""


@dataclass(frozen=True, slots=True)
class GitOptions:
    """What the operator allows."""

    protocols: Sequence[str] = ("https", "ssh")
    known_hosts: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    """For git's environment, such as `https_proxy` or `GIT_SSL_CAINFO`."""
    attempts: int = 3
    pause_seconds: float = 1.0
    """Before the second attempt; doubled before each further one."""
    max_bytes: int = 1024 * MIB
    policy: AddressPolicy | None = None
    """Which addresses it may connect to; None: any."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the operator allows. Durations are seconds."""

    room: Size
    timeout: float
    git: GitOptions
    inherited: Mapping[str, str]
