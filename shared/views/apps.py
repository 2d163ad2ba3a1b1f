"""App configurations as the gateway, who alone writes them, offers them to readers.

Several versions of an app may carry `active` for a moment: the one that was activated last counts (`ACTIVE_FIRST`).
"""

from typing import Any

from pydantic import Field

from shared.events.base import Moment
from shared.views.base import View

APP_CONFIGURATIONS = "app_configurations"
ACTIVE_FIRST = [("activated_at", -1), ("_id", -1)]


class AppSummary(View):
    """One version of an app as lists show it."""

    configuration_id: str = Field(validation_alias="_id")
    tenant: str
    app_id: int
    app_name: str
    sub_app_id: int | None = None
    sub_app_name: str | None = None
    version: str
    active: bool = False
    activated_at: Moment | None = None
    activations: list[dict[str, Any]] = Field(default_factory=list)
    """When and by whom it was made the active one, the last 64 times."""
    created_at: Moment
    created_by: str


class AppView(AppSummary):
    """One version of an app in full."""

    configuration: dict[str, Any]
