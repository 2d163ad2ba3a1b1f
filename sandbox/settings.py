"""Settings of the sandbox: where it keeps things and which ports it uses.

The addresses of the parts come from the variables that the services read (`KAFKA__BOOTSTRAP_SERVERS`, `MONGO__URI`,
`OBJECTS__URI`, `AWS__ENDPOINT_URL`, `PROXY__UPSTREAM_URL`): one that is set means that the part exists elsewhere and
is not started here.
"""

import os
import sys
from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SandboxSettings(BaseSettings):
    """Read from the environment with the prefix `SANDBOX__`."""

    model_config = SettingsConfigDict(
        env_prefix="SANDBOX__", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    data: Path = Path(".cadenza")
    """Folder of data and logs; removing it starts anew."""
    cache: Path = Field(default_factory=lambda: _CacheHome().folder)
    """Folder of fetched parts, shared by all checkouts."""
    min_free_mb: int = 1024
    """The sandbox does not start with less room on the disk than this, in MiB."""
    kafka_port: int = 19092
    mongo_port: int = 27027
    aws_port: int = 5555
    virtuoso_port: int = 8090
    seven_ps_port: int = 8091
    gateway_port: int = 8080
    proxy_port: int = 8081
    executor_port: int = 8082
    extractor_port: int = 8083
    scanner_port: int = 8084
    start_seconds: float = 90.0
    """How long a service may take to become ready."""

    kafka: str | None = Field(None, validation_alias=AliasChoices("KAFKA__BOOTSTRAP_SERVERS"))
    """A Kafka that exists elsewhere."""
    mongo: str | None = Field(None, validation_alias=AliasChoices("MONGO__URI"))
    """A MongoDB that exists elsewhere."""
    aws: str | None = Field(None, validation_alias=AliasChoices("AWS__ENDPOINT_URL"))
    """An AWS endpoint that exists elsewhere."""
    virtuoso: str | None = Field(None, validation_alias=AliasChoices("PROXY__UPSTREAM_URL"))
    """A Virtuoso that exists elsewhere."""
    objects: str | None = Field(None, validation_alias=AliasChoices("OBJECTS__URI"))
    """An object store that exists elsewhere."""

    def service_port(self, service: str) -> int:
        """The port of one service."""
        return int(getattr(self, f"{service}_port"))

    def inherited(self) -> dict[str, str]:
        """The user's environment, with this Python first in PATH, so that steps say `python3` and get it."""
        programs = str(Path(sys.executable).parent)
        return {**os.environ, "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}"}


class _CacheHome(BaseSettings):
    """The user's cache folder, as the XDG base directory specification says."""

    cadenza_cache: Path | None = None
    xdg_cache_home: Path | None = None

    @property
    def folder(self) -> Path:
        return self.cadenza_cache or (self.xdg_cache_home or Path.home() / ".cache") / "cadenza"
