"""Use cases of apps: store a version, make one the active one, read them, start runs from them by name.

A version never changes. What is active is decided by the latest activation, one write to one document; that others
lose their mark comes after it and may be late.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.gateway.errors import AlreadyThere
from services.gateway.intake import content_hash
from services.gateway.models import Page, Requester
from shared.clock import Clock
from shared.errors import FieldError, InvalidRequest, NotFound
from shared.events.run import AppRun
from shared.ids import derived_id
from shared.plans.app_plans import check_configuration, plan_of
from shared.plans.app_subplans import app_run_of, with_apps
from shared.plans.apps import (
    AppConfiguration,
    AppReference,
    AppSubmission,
    AppVersion,
)
from shared.plans.mistakes import hint, shown
from shared.plans.validation import parsed, validate_submission
from shared.ports import Audit
from shared.views.apps import AppView

STATISTICS = "statistics"
"""`/v1/apps/statistics` tells how runs came out."""


class Configurations(Protocol):
    """The stored versions; every call carries the tenant."""

    async def number(self, scope: str, name: str, wanted: int | None) -> int:
        """The number of a name within its scope, the same for ever. Raises AlreadyThere when another has `wanted`."""
        ...

    async def add(self, configuration: Mapping[str, Any]) -> str | None:
        """None when it was stored; the content hash of what is there under this id or number already."""
        ...

    async def activate(self, app: AppView, *, by: str) -> None: ...

    async def find(self, tenant: str, app: AppReference) -> AppView | None:
        """The version, or the active one when none is named."""
        ...

    async def names(self, tenant: str) -> Sequence[str]:
        """All apps as `app` or `app/sub-app`; at most some hundred."""
        ...

    async def actives(self, tenant: str, *, after: str | None, limit: int) -> Page: ...

    async def versions(
        self, tenant: str, app: AppReference, *, after: str | None, limit: int
    ) -> Page:
        """Newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Planned:
    """A run of an app, as if its caller had brought the plan. `size` is the plan's in bytes."""

    submission: Mapping[str, Any]
    app: AppRun
    size: int


class Apps:
    """What callers may ask of apps."""

    def __init__(self, configurations: Configurations, audit: Audit, *, clock: Clock) -> None:
        self._configurations = configurations
        self._audit = audit
        self._clock = clock

    async def configure(
        self, app: AppReference, body: AppVersion, requester: Requester
    ) -> tuple[AppView, bool]:
        """Store a version; False when the very same was there. Raises InvalidRequest, AlreadyThere."""
        if app.path == STATISTICS:
            message = f"'{STATISTICS}' is no name for an app: its address is taken"
            raise InvalidRequest(message, errors=[FieldError("app", "reserved", message)])
        check_configuration(app, body.configuration)
        document = await self._document(app, body, requester)
        there = await self._configurations.add(document)
        if there not in (None, document["content_hash"]):
            raise AlreadyThere(f"version {body.version} of {app.path} is stored with other content")
        stored = app.model_copy(update={"version": body.version})
        if body.activate:
            await self._activate(await self.get(requester.tenant, stored), requester)
        view = await self.get(requester.tenant, stored)
        if there is None:
            await self._note("app.configure", view, requester)
        return view, there is None

    async def activate(self, app: AppReference, requester: Requester) -> AppView:
        """Runs that name no version start from this one from now on. Raises NotFound."""
        await self._activate(await self.get(requester.tenant, app), requester)
        return await self.get(requester.tenant, app)

    async def seed(
        self, seeds: Sequence[tuple[AppReference, AppVersion]], requester: Requester
    ) -> list[AppView]:
        """Store what is not there yet; whoever has activated another version keeps it."""
        views = []
        for app, seed in seeds:
            known = await self._configurations.find(requester.tenant, app)
            body = seed.model_copy(update={"activate": known is None})
            views.append((await self.configure(app, body, requester))[0])
        return views

    async def get(self, tenant: str, app: AppReference) -> AppView:
        """Raises NotFound, with the nearest name."""
        found = await self._configurations.find(tenant, app)
        if found is None:
            raise await self._unknown(tenant, app)
        return found

    async def list(self, tenant: str, *, after: str | None, limit: int) -> Page:
        """The active version of every app."""
        return await self._configurations.actives(tenant, after=after, limit=limit)

    async def versions(
        self, tenant: str, app: AppReference, *, after: str | None, limit: int
    ) -> Page:
        """All versions, newest first. Raises NotFound."""
        page = await self._configurations.versions(tenant, app, after=after, limit=limit)
        if not page.items and after is None:
            raise await self._unknown(tenant, app)
        return page

    async def planned(self, body: Mapping[str, Any], tenant: str) -> Planned:
        """The submission with the plan of the app that it names. Raises InvalidRequest, NotFound."""
        asked = parsed(AppSubmission, body)
        found = await self.get(tenant, asked.app)
        configuration = AppConfiguration.model_validate(found.configuration)
        plan = plan_of(asked.app, configuration, asked.inputs)
        rest = {name: value for name, value in body.items() if name != "app"}
        size = len(json.dumps(plan)) + len(json.dumps(rest))
        return Planned({**rest, "plan": plan}, app_run_of(found), size)

    async def with_subplans(
        self, submission: Mapping[str, Any], tenant: str, *, app: AppRun | None = None
    ) -> Mapping[str, Any]:
        """The submission with the plans of the apps that its steps name; itself when they name none. It has been
        validated, `app` is what its plan was made from. Raises InvalidRequest.
        """
        plan = submission["plan"]
        found = await with_apps(plan, lambda reference: self.get(tenant, reference), app=app)
        if found is plan:
            return submission
        resolved = {**submission, "plan": found}
        await asyncio.to_thread(validate_submission, resolved)
        return resolved

    async def _document(
        self, app: AppReference, body: AppVersion, requester: Requester
    ) -> dict[str, Any]:
        tenant = requester.tenant
        configuration = body.configuration.model_dump(mode="json", exclude_unset=True)
        number, sub_number = self._configurations.number, None
        app_id = await number(tenant, app.name, body.app_id)
        if app.sub_app is not None:
            sub_number = await number(derived_id(tenant, app.name), app.sub_app, body.sub_app_id)
        return {
            "_id": derived_id(tenant, app.name, app.sub_app or "", body.version),
            "tenant": tenant,
            "app_id": app_id,
            "app_name": app.name,
            "sub_app_id": sub_number,
            "sub_app_name": app.sub_app,
            "version": body.version,
            "configuration": configuration,
            "content_hash": content_hash(tenant, configuration),
            "active": False,
            "activated_at": None,
            "activations": [],
            "created_at": self._clock.now(),
            "created_by": requester.user,
        }

    async def _activate(self, app: AppView, requester: Requester) -> None:
        if app.active:
            return
        await self._configurations.activate(app, by=requester.user)
        await self._note("app.activate", app, requester)

    async def _note(self, action: str, app: AppView, requester: Requester) -> None:
        await self._audit.record(
            tenant=requester.tenant,
            actor=requester.user,
            action=action,
            target="/".join(filter(None, (app.app_name, app.sub_app_name))),
            details={"version": app.version},
        )

    async def _unknown(self, tenant: str, app: AppReference) -> NotFound:
        known = await self._configurations.names(tenant)
        if app.path in known:
            return NotFound(f"there is no version '{shown(app.version or '')}' of {app.path}")
        told = hint(app.path, known) or (f"; known: {', '.join(known[:20])}" if known else "")
        return NotFound(f"there is no app '{shown(app.path)}'{told}")
