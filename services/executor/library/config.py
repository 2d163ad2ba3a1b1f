"""Configuration of the embedded engine: in code, from the environment (`EXEC_*`), or from a TOML or JSON file."""

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.executor.processes.model import MIB
from shared.errors import ConfigurationError

LOG_FOLDER = "cloudops-executions"


class ExecutionConfig(BaseModel):
    """Every field has a variable, `EXEC_` and its name in capitals; number of executions: `EXEC_MAX_CONCURRENT`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )

    default_timeout_ms: int = Field(120_000, gt=0)
    """Of a request that names none."""
    max_timeout_ms: int = Field(600_000, gt=0)
    """A request for more is refused."""
    stream_output: bool = True
    """Send `stdout` and `stderr` events."""
    log_dir: Path | None = None
    """None: `cloudops-executions` under the temporary folder. One `<id>.log` each; the operating system tidies up."""
    max_concurrent_executions: int = Field(10, ge=1)
    """Commands at the same time, plans included. More wait as `pending`."""
    max_output_bytes: int = Field(10 * MIB, ge=1)
    """Per stream, of what is kept in result and log; more is read and dropped."""
    grace_ms: int = Field(5_000, ge=0)
    """Between SIGTERM and SIGKILL."""
    history_limit: int = Field(1_000, ge=1)
    """Ended executions that are remembered; logs outlive them."""
    inherit_env: tuple[str, ...] = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")
    """Variables of the embedding program that commands see; everything else is kept from them."""

    @model_validator(mode="after")
    def _default_within_maximum(self) -> Self:
        if self.default_timeout_ms > self.max_timeout_ms:
            raise ValueError(
                f"default_timeout_ms {self.default_timeout_ms} is above max_timeout_ms {self.max_timeout_ms}"
            )
        return self

    @classmethod
    def production(cls) -> Self:
        """5 minutes, at most 30; 50 at once."""
        return cls(
            default_timeout_ms=300_000, max_timeout_ms=1_800_000, max_concurrent_executions=50
        )

    @classmethod
    def development(cls) -> Self:
        """1 minute, at most 5; 5 at once."""
        return cls(default_timeout_ms=60_000, max_timeout_ms=300_000, max_concurrent_executions=5)

    @classmethod
    def test(cls) -> Self:
        """10 seconds, at most 30; one at a time, no output events."""
        return cls(
            default_timeout_ms=10_000,
            max_timeout_ms=30_000,
            stream_output=False,
            max_concurrent_executions=1,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read `EXEC_*`. Raises ConfigurationError naming the variable."""
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {
            field: source[variable] for field, variable in _VARIABLES.items() if variable in source
        }
        if "inherit_env" in values:
            values["inherit_env"] = [name for name in values["inherit_env"].split(",") if name]
        return cls._read(values, _VARIABLES)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a `.toml` or `.json` file with the fields' names. Raises ConfigurationError."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read the configuration {path}: {error}") from None
        return cls._read(values, {})

    @property
    def log_folder(self) -> Path:
        return self.log_dir or Path(tempfile.gettempdir()) / LOG_FOLDER

    def inherited(self) -> dict[str, str]:
        """What commands see of this program's environment."""
        return {name: os.environ[name] for name in self.inherit_env if name in os.environ}

    @classmethod
    def _read(cls, values: Any, names: Mapping[str, str]) -> Self:
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = "; ".join(
                f"{names.get(str(p['loc'][0]), p['loc'][0]) if p['loc'] else 'configuration'}: {p['msg']}"
                for p in error.errors(include_url=False)
            )
            raise ConfigurationError(f"wrong configuration: {wrong}") from None


_VARIABLES = {name: f"EXEC_{name.upper()}" for name in ExecutionConfig.model_fields}
_VARIABLES["max_concurrent_executions"] = "EXEC_MAX_CONCURRENT"
