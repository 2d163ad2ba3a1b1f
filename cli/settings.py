"""Where the command line finds the platform: `CADENZA_URL`, `CADENZA_API_KEY`, else the sandbox on this machine."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from sandbox.settings import SandboxSettings


class CliSettings(BaseSettings):
    """Read from the environment with the prefix `CADENZA_`."""

    model_config = SettingsConfigDict(
        env_prefix="CADENZA_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    url: str | None = None
    """Address of the gateway; None: the sandbox's."""
    api_key: SecretStr | None = None
    """Key of the caller; None: the sandbox's demo key."""
    webhook_secret: SecretStr | None = None
    """Signs inbound webhooks; None: the API key is sent instead."""
    proxy_url: str | None = None
    """Address of the Virtuoso proxy; None: the sandbox's."""
    extractor_url: str | None = None
    """Address of the extractor, which answers questions to the lake; None: the sandbox's."""

    def service(self, name: str) -> str:
        """Address of a service."""
        given = {"gateway": self.url, "proxy": self.proxy_url, "extractor": self.extractor_url}
        return given.get(name) or f"http://127.0.0.1:{SandboxSettings().service_port(name)}"

    def key(self) -> str:
        return self.api_key.get_secret_value() if self.api_key else "demo-key"
