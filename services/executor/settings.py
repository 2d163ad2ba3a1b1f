"""Settings of the executor: how much it runs at once, where, and how long things may take."""

import os
import re
import tempfile
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from services.executor.addresses import AddressPolicy
from services.executor.commands.reach import BrowserPlace
from services.executor.processes.model import Limits
from services.executor.reach_settings import ReachSettings
from services.executor.sources.options import GitOptions, Size, SourceOptions
from shared.settings import ServiceSettings
from shared.work.labels import LABEL, split_labels


def _inherited() -> dict[str, str]:
    """What commands may see of the service's own environment; everything else stays out."""
    return {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ
    }


class ExecutorGroup(ReachSettings):
    """Environment prefix `EXECUTOR__`."""

    run_slots: int = Field(64, ge=1, le=10_000)
    """Runs that this process holds at the same time; more only wait for each other on two cores."""
    rest_after_seconds: float = Field(10.0, ge=0)
    """A run of which nothing runs gives its slot back when none of its steps goes on before that; a shorter pause is
    cheaper to sit out."""
    labels: str = ""
    """What this executor offers beside running commands: comma-separated, such as `browser,region=eu`. Plans name them
    in `requires`. With `tenant:acme` it runs nothing but acme's. Where there is a browser, `browser` is added."""
    process_limit: int = Field(100, ge=1, le=5_000)
    """Steps that run at the same time, over all runs."""
    work_dir: Path = Path(tempfile.gettempdir()) / "cadenza-work"
    """Where runs get their working directories; each is removed when its run has ended."""
    default_step_timeout_seconds: float = Field(3600, gt=0)
    """Of a step whose plan names none."""
    grace_seconds: float = Field(5, ge=0)
    """Between SIGTERM and SIGKILL when a step is ended."""
    lease_seconds: float = Field(60, gt=0)
    """How long a silent executor keeps its runs."""
    renew_seconds: float = Field(10, gt=0)
    """How often leases are renewed; several renewals may fail before one is lost."""
    poll_seconds: float = Field(1.0, gt=0)
    """How often to look for queued runs when nothing wakes the executor; ingestion wakes it at once."""
    metrics_seconds: float = Field(2.0, gt=0)
    """Between two samples of a step's processes."""
    max_output_bytes: int = Field(10 * 1024 * 1024, ge=1024)
    """Of one stream of one step that is kept; what comes after is drained and marked as truncated."""
    inline_output_bytes: int = Field(64 * 1024, ge=0)
    """A step's output above this size becomes an artifact, and so does its log."""
    max_artifact_bytes: int = Field(1024**3, ge=0)
    """Of all files together that one try of a step leaves; what exceeds it is named in the step's log, not kept."""
    keep_executions_days: float = Field(365, gt=0)
    """How long ended runs are kept, from their acceptance. The same goes for what belongs to them, if not less."""
    keep_steps_days: float = Field(182, gt=0)
    """How long their steps and logs are kept."""
    keep_artifacts_days: float = Field(91, gt=0)
    """How long their artifacts are kept, bytes included."""
    retention_check_seconds: float = Field(3600, gt=0)
    """Between two looks for what is too old."""
    memory_limit_mb: int | None = Field(None, ge=16)
    """Address space of each process of a step, and memory held by all of them together. Java reserves far more than it
    uses. This and the following limits a step's `limits` may narrow, never widen."""
    cpu_limit_seconds: int | None = Field(None, ge=1)
    """CPU time of each process of a step; then SIGXCPU or SIGKILL ends it."""
    open_files_limit: int | None = Field(None, ge=16)
    """Open files of each process of a step."""
    file_size_limit_mb: int | None = Field(None, ge=1)
    """Of each file that a step writes; then SIGXFSZ ends the process."""
    user_processes_limit: int | None = Field(None, ge=1)
    """Processes and threads of the user that steps run as, all together. Binds everybody but root."""
    aws_program: str = "aws"
    """The AWS command line that `aws_cli` steps run: a name on PATH, or a path."""
    aws_endpoint_url: str | None = None
    """Where `aws_cli` steps go instead of AWS itself, such as a moto server; None: AWS."""
    http_allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public and that `http` steps, browsers and git sources may reach: a JSON list such as
    `["10.1.0.0/16"]`. Without it they reach public addresses only: not this machine, no private network, no metadata of
    a cloud."""
    step_uids: tuple[int, ...] = ()
    """User ids to run steps as, one for each run as long as there are enough: a JSON list. Needs root; without it steps
    run as the executor and are not isolated from it, nor from each other."""
    browser_path: str | None = None
    """Program of the Chromium or Chrome of browser steps; unset: chromium, chromium-browser, google-chrome on PATH;
    `none`: no browser steps here."""
    browser_sandbox: bool = False
    """Start browsers with their own sandbox: needs user namespaces, and steps of another user than root."""
    browser_allowed_hosts: tuple[str, ...] = ()
    """Hosts that browsers may reach, as a JSON list of names with `*`; empty: all. Private ones also need their network
    in `http_allowed_networks`."""
    browser_schemes: tuple[str, ...] = ("http", "https")
    """Kinds of addresses that scripts may open, as a JSON list; with `file` they read what the step's user may read."""
    secrets: dict[str, dict[str, SecretStr]] = {}
    """Tenant → name → value of `${{ secrets.name }}`, as a JSON object; what a tenant has set itself comes first."""
    secret_cache_seconds: float = Field(1.0, ge=0)
    """How long values of secrets and variables are remembered; a new one counts that much later at most."""
    source_timeout_seconds: float = Field(300, gt=0)
    """For all sources of a plan together, before the first step."""
    max_source_bytes: int = Field(1024**3, ge=1024)
    """Of one source, unpacked; git may fetch as much."""
    max_source_files: int = Field(100_000, ge=1)
    """Files, folders and links of one source."""
    source_cache_bytes: int = Field(2 * 1024**3, ge=0)
    """What sources may take below `work_dir` between runs; the least recently used go first. 0: no cache."""
    git_protocols: tuple[str, ...] = ("https", "ssh")
    """What git may speak, as a JSON list; `http` and `file` are for tests and closed networks."""
    git_known_hosts: Path | None = None
    """Keys of ssh hosts (known_hosts form); None: those of the system. Unknown hosts are refused."""
    git_variables: dict[str, str] = {}
    """Variables for git, such as `https_proxy` or `GIT_SSL_CAINFO`, as a JSON object."""
    inherited: dict[str, str] = Field(default_factory=_inherited)
    """Variables of the executor's own environment that commands may see."""
    host_id: str = Field(default_factory=lambda: os.uname().nodename)
    """Name of the host in lease owners and attempts."""

    def source_options(self) -> SourceOptions:
        """What plans may fetch, and how."""
        return SourceOptions(
            room=Size(bytes=self.max_source_bytes, files=self.max_source_files),
            timeout=self.source_timeout_seconds,
            git=GitOptions(
                protocols=self.git_protocols,
                known_hosts=self.git_known_hosts,
                variables=self.git_variables,
                max_bytes=self.max_source_bytes,
                policy=AddressPolicy(self.http_allowed_networks),
            ),
            inherited=self.inherited,
        )

    @field_validator("labels")
    @classmethod
    def _are_labels(cls, value: str) -> str:
        for label in split_labels(value):
            if not re.fullmatch(LABEL, label):
                raise ValueError(f"'{label}' is no label: letters, digits and _.:=/- ")
        return value

    def label_set(self) -> tuple[str, ...]:
        return split_labels(self.labels)

    def keep_days(self) -> dict[str, float]:
        """How long what is kept."""
        return {
            "executions": self.keep_executions_days,
            "steps": self.keep_steps_days,
            "artifacts": self.keep_artifacts_days,
        }

    def browser(self) -> BrowserPlace:
        """Of browser steps."""
        return BrowserPlace(
            path=self.browser_path or None,
            sandbox=self.browser_sandbox,
            allowed_hosts=self.browser_allowed_hosts,
            allowed_networks=self.http_allowed_networks,
            schemes=self.browser_schemes,
        )

    def limits(self) -> Limits:
        """Of each process of a step."""
        return Limits(
            output_bytes=self.max_output_bytes,
            memory_mb=self.memory_limit_mb,
            cpu_seconds=self.cpu_limit_seconds,
            open_files=self.open_files_limit,
            file_size_mb=self.file_size_limit_mb,
            processes=self.user_processes_limit,
        )


class ExecutorSettings(ServiceSettings):
    """Everything the executor reads from the environment."""

    executor: ExecutorGroup = ExecutorGroup()
