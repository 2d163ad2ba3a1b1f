"""Settings of what steps reach outside: our proxy to Virtuoso, and 7PS. Part of the group `EXECUTOR__`."""

from typing import Literal

from pydantic import Field, HttpUrl, SecretStr

from shared.settings import Group


class ReachSettings(Group):
    """The executor's ways out."""

    upstream_timeout_seconds: float = Field(30, gt=0)
    """For one whole call of a `virtuoso` or `seven_ps` step; the step tries again as long as it has time."""
    upstream_max_answer_bytes: int = Field(16 * 1024 * 1024, ge=1024)
    """A larger answer to such a call is refused: it is held in memory."""
    proxy_url: HttpUrl | None = None
    """Address of the proxy, through which `virtuoso` steps reach Virtuoso; None: there are no such steps."""
    proxy_keys: dict[str, SecretStr] = {}
    """Tenant → its API key for the proxy, as a JSON object. A tenant without one has no `virtuoso` steps."""
    virtuoso_ui_url: HttpUrl = HttpUrl("https://app.virtuoso.qa")
    """Virtuoso's pages for people; links in results begin with it."""
    seven_ps_mode: Literal["external", "local"] = "external"
    """`external`: the test sets of `seven_ps` steps are jobs of 7PS; `local`: they are processes of this executor."""
    seven_ps_url: HttpUrl | None = None
    """Address of 7PS; None: steps that need it end `failed(not_available)`."""
    seven_ps_token: SecretStr = SecretStr("")
    """Bearer token for 7PS."""
    seven_ps_callback_url: HttpUrl | None = None
    """Handed to 7PS as `callbackUrl`, to tell the end of a job: the gateway's `/webhook/seven-ps`. None: no."""
    seven_ps_local_sets: int = Field(7, ge=1, le=100)
    """In mode `local`: test sets that run at once, over all runs of this executor."""
