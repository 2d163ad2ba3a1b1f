"""Settings that several services share, in groups.

A service composes the groups it needs and adds a group of its own; every value comes from the environment as
`GROUP__FIELD` (`KAFKA__BOOTSTRAP_SERVERS`, `MONGO__URI`, `EXECUTOR__RUN_SLOTS`). Settings are built once, in
`__main__`, and passed down; nobody else reads the environment.
"""

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.errors import ConfigurationError


class Group(BaseModel):
    """A group of settings; an unknown name in it is an error, so that typing mistakes show at the start."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(Group):
    """The bus."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """Comma-separated `host:port` list of brokers to ask first."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to talk to the brokers; managed Kafka wants `SASL_SSL`."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """Used with the SASL protocols only."""
    username: str | None = None
    """SASL user."""
    password: SecretStr | None = None
    """SASL password."""
    ca_file: str | None = None
    """PEM file with the authorities to trust; None means the system's."""
    replication_factor: int = Field(1, ge=1)
    """For topics that Cadenza creates. 1 suits one broker; production wants 3."""
    partitions: int = Field(6, ge=1)
    """Of each topic; more partitions allow more replicas of a consumer."""
    session_timeout_ms: int = 10_000
    """How long the group waits for a silent member. Short, because offsets are cheap to take over."""
    max_message_bytes: int = 4 * 1024 * 1024
    """Largest event, for topics and producer alike."""
    failure_limit: int = Field(50, ge=1)
    """Failed messages that a consumer group may dead-letter within `failure_window_seconds` before it pauses."""
    failure_window_seconds: float = Field(600.0, gt=0)
    """The window of `failure_limit`; unreadable messages do not count."""
    probe_seconds: float = Field(30.0, gt=0)
    """A paused consumer tries its message again this often."""


class MongoSettings(Group):
    """The database. Pool and write defaults are those of the schema document."""

    uri: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    """Where it is; a replica set, because majority writes and change order depend on one."""
    database: str = "cadenza"
    """Name of the database."""
    username: str | None = None
    """User; None means no authentication."""
    password: SecretStr | None = None
    """Password of `username`."""
    auth_source: str = "admin"
    """Database that holds the user."""
    tls: bool = False
    """Encrypt the connection."""
    tls_ca_file: str | None = None
    """PEM file with the authorities to trust."""
    max_pool_size: int = 100
    """Connections per process."""
    min_pool_size: int = Field(10, ge=0)
    """Connections kept open. The sandbox uses fewer."""
    max_idle_time_ms: int = 30_000
    """Idle connections are closed after this many milliseconds."""
    server_selection_timeout_ms: int = 2_000
    """How long an operation looks for a primary; PyMongo's own default of 30 s would freeze every caller."""
    timeout_ms: int = 10_000
    """Longest single operation, in milliseconds."""


class ObjectsSettings(Group):
    """Where bulk data lies."""

    uri: str = "file:///tmp/cadenza/objects"
    """`file:///folder`, `s3://bucket/prefix` or `gridfs://bucket`."""


class AwsSettings(Group):
    """AWS access. Credentials come from the SDK's own chain when the keys are not set."""

    endpoint_url: str | None = None
    """Another endpoint than AWS, such as the sandbox's."""
    region: str = "us-east-1"
    """Default region."""
    access_key_id: str | None = None
    """Only for the sandbox and S3-compatible stores."""
    secret_access_key: SecretStr | None = None
    """Belongs to `access_key_id`."""


class ApiKey(Group):
    """One key that callers may present, and who they are then."""

    key: SecretStr
    tenant: str = Field(min_length=1)
    user: str = Field(min_length=1)
    roles: list[str] = ["member"]


class AuthSettings(Group):
    """Who may call."""

    api_keys: list[ApiKey] = []
    """A JSON list of `{"key", "tenant", "user", "roles"}`. Empty: nobody gets in."""
    webhook_secrets: dict[str, SecretStr] = {}
    """Tenant → secret of its inbound webhooks' HMAC-SHA256 signature, as a JSON object."""


class SecuritySettings(Group):
    """Encryption at rest. Gateway and executor need the same keys."""

    encryption_keys: dict[str, SecretStr] = {}
    """Key id → 32 bytes in base64, as a JSON object: the first encrypts, all decrypt, so a new key goes in front.
    Without one no secret can be stored and no step may have `encrypted_fields`."""


class HttpSettings(Group):
    """The service's own HTTP side."""

    host: str = "127.0.0.1"
    """Address to listen on; containers set 0.0.0.0."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 8000 in containers, one per service in the sandbox."""
    docs: bool = True
    """Serve `/docs` and `/redoc`."""
    max_body_bytes: int = 4 * 1024 * 1024
    """Larger requests get 413 before anything is read into memory."""
    slow_request_seconds: float = Field(20.0, gt=0)
    """A request whose head takes longer, or its body this much longer than 1 KiB/s would, gets 408."""
    trusted_proxies: list[str] = []
    """Networks (CIDR) whose `X-Forwarded-For` is believed."""
    allow_origins: list[str] = []
    """CORS origins; empty means no cross-origin calls."""


class TelemetrySettings(Group):
    """Logs, traces, metrics."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level written."""
    log_format: Literal["json", "console"] = "json"
    """`console` is for people at a terminal."""
    otlp_endpoint: str | None = None
    """Where traces and metrics go (OTLP over HTTP), such as `http://collector:4318`; None: nowhere."""
    metrics_seconds: float = Field(15.0, gt=0)
    """How often metrics go to `otlp_endpoint`; `/metrics` answers at any time."""
    environment: str = "development"
    """Name of the environment; stands in every run's metadata."""


class RuntimeSettings(Group):
    """Start and stop."""

    drain_seconds: float = 20.0
    """How long work in flight may finish after SIGTERM. Below the chart's grace period by a margin."""
    stall_seconds: float = 15.0
    """A loop that made no turn for this long turns readiness off."""


class ServiceSettings(BaseSettings):
    """Base of every service's settings."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    kafka: KafkaSettings = KafkaSettings()
    mongo: MongoSettings = MongoSettings()
    objects: ObjectsSettings = ObjectsSettings()
    aws: AwsSettings = AwsSettings()
    auth: AuthSettings = AuthSettings()
    security: SecuritySettings = SecuritySettings()
    http: HttpSettings = HttpSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    runtime: RuntimeSettings = RuntimeSettings()


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S]) -> S:
    """Read settings from the environment; ConfigurationError names each variable that is wrong and why."""
    try:
        return settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"wrong settings: {wrong}") from None
    except SettingsError as error:  # it names the group and no more
        raise ConfigurationError(
            f"wrong settings: {error}; lists and objects are written as JSON"
        ) from None
