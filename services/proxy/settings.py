"""Settings of the proxy: where Virtuoso is, how long to wait for it, how long sessions live."""

from pydantic import Field, HttpUrl, SecretStr

from shared.settings import Group, ServiceSettings


class ProxyGroup(Group):
    """Environment prefix `PROXY__`."""

    upstream_url: HttpUrl = HttpUrl("https://api.virtuoso.qa/api")
    """Base address of the Virtuoso API, `/api` included."""
    upstream_token: SecretStr = SecretStr("")
    """Bearer token of the Virtuoso account; stays inside the client."""
    connect_timeout_seconds: float = Field(5, gt=0)
    """To open a connection to Virtuoso."""
    timeout_seconds: float = Field(30, gt=0)
    """For one whole call; Virtuoso's own clients use the same."""
    max_connections: int = Field(200, ge=1)
    """Open connections to Virtuoso; further calls wait for one inside their timeout."""
    max_answer_bytes: int = Field(16 * 1024 * 1024, ge=1024)
    """Larger answers are refused (502): they are held in memory to take secrets out of them."""
    session_idle_seconds: float = Field(3600, gt=0)
    """A session that was not used for this long has ended."""
    session_wait_seconds: float = Field(30, gt=0)
    """How long a command waits for its turn in a busy session before it gets 503."""
    turn_margin_seconds: float = Field(15, gt=0)
    """How much longer than an upstream call a turn is held before another process may take it over."""
    outbox_sweep_seconds: float = Field(5, gt=0)
    """How often to look for session events that a stopped process left behind."""


class ProxySettings(ServiceSettings):
    """Everything the proxy reads from the environment."""

    proxy: ProxyGroup = ProxyGroup()
