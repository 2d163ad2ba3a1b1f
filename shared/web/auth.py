"""Who calls: an API key becomes a `Principal`, from which the tenant follows.

A key comes as `X-API-Key: …` or `Authorization: Bearer …`. Routes say `caller: Caller`, or `Depends(require("admin"))`
where a role is needed. Keys are compared in constant time, every one of them, so that an answer's time tells nothing.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import structlog
from fastapi import Depends
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from shared.errors import Forbidden, Unauthorized
from shared.settings import AuthSettings

SCHEME = "ApiKey"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose credentials are good."""

    tenant: str
    user: str
    roles: frozenset[str]


class Authenticator(Protocol):
    """Turns credentials into a principal."""

    async def authenticate(self, authorization: str | None, api_key: str | None) -> Principal:
        """Raises Unauthorized."""
        ...


class ApiKeyAuthenticator:
    """Keys from the settings."""

    def __init__(self, settings: AuthSettings) -> None:
        self._keys = [
            (
                entry.key.get_secret_value().encode(),
                Principal(entry.tenant, entry.user, frozenset(entry.roles)),
            )
            for entry in settings.api_keys
        ]

    async def authenticate(self, authorization: str | None, api_key: str | None) -> Principal:
        offered = api_key or bearer_token(authorization)
        if not offered:
            raise Unauthorized("an API key is needed, as X-API-Key or as Authorization: Bearer")
        found = None
        # latin-1: header bytes as they came, so that no character makes the comparison fail
        wanted = offered.encode("latin-1", "replace")
        for key, principal in self._keys:
            if hmac.compare_digest(key, wanted):
                found = principal
        if found is None:
            raise Unauthorized("the API key is unknown")
        return found


def bearer_token(authorization: str | None) -> str | None:
    """The token of `Authorization: Bearer …`; None for anything else."""
    kind, _, token = (authorization or "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


class _PrincipalOf(SecurityBase):
    """The dependency `principal`: a security scheme too, so that OpenAPI shows which routes want a key."""

    def __init__(self) -> None:
        self.model = APIKey.model_validate({"in": APIKeyIn.header, "name": "X-API-Key"})
        self.scheme_name = SCHEME

    async def __call__(self, request: Request) -> Principal:
        authenticator: Authenticator | None = request.app.state.authenticator
        if authenticator is None:
            raise Unauthorized("this service has no authentication set up")
        headers = request.headers
        caller = await authenticator.authenticate(
            headers.get("authorization"), headers.get("x-api-key")
        )
        structlog.contextvars.bind_contextvars(tenant=caller.tenant, user=caller.user)
        return caller


principal = _PrincipalOf()
Caller = Annotated[Principal, Depends(principal)]


def require(*roles: str) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency that lets only callers with one of `roles` pass. Raises Forbidden."""
    needed = frozenset(roles)

    async def permitted(caller: Caller) -> Principal:
        if not needed & caller.roles:
            raise Forbidden(f"this needs one of the roles: {', '.join(sorted(needed))}")
        return caller

    return permitted
