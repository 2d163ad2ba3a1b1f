"""The FastAPI application of every service, built one way: limits, ids, traces, errors, health, docs.

    app = build_web_app(title=…, version=…, settings=…, health=…, routers=[…], authenticator=…)

Every error answers with `application/problem+json`, those of the framework included. Only `/health*`, `/metrics` and
the docs are open by themselves; routers say `caller: Caller`, or are given `dependencies=[Depends(principal)]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from shared.runtime import Health
from shared.settings import HttpSettings
from shared.web import failures, metrics, probes
from shared.web.auth import SCHEME, Authenticator
from shared.web.connection import TrustedProxies
from shared.web.direct import DirectRoute, WebApp
from shared.web.middleware import Context, Errors, Limits, ServerSpan

PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "Stable word for programs."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "rule", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "rule": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def build_web_app(
    *,
    title: str,
    version: str,
    settings: HttpSettings,
    health: Health,
    routers: Sequence[APIRouter],
    authenticator: Authenticator | None,
    direct: Sequence[DirectRoute] = (),
    body_limits: Mapping[tuple[str, str], int] | None = None,
) -> FastAPI:
    """Wire everything, connect nothing. What is in `direct` is in one of the routers too, for the docs. `body_limits`:
    addresses (method, path) whose body may be larger than others.
    """
    app = WebApp(
        direct=direct,
        title=title,
        version=version,
        docs_url="/docs" if settings.docs else None,
        redoc_url="/redoc" if settings.docs else None,
        openapi_url="/openapi.json" if settings.docs else None,
        middleware=_middleware(settings, body_limits),
        exception_handlers=dict(failures.HANDLERS),
        separate_input_output_schemas=False,
        redirect_slashes=False,  # the address in such a redirect would be the caller's own Host
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ServerSpan makes ours
        responses={"default": {"description": "Problem", "content": _PROBLEM_CONTENT}},
    )
    app.state.authenticator = authenticator
    app.state.health = health
    app.state.trusted_proxies = TrustedProxies(settings.trusted_proxies)
    app.include_router(
        probes.build_router(health, title=title, version=version, docs=settings.docs)
    )
    app.include_router(metrics.build_router(health))
    for router in routers:
        app.include_router(router)
    _complete_openapi(app)
    return app


_PROBLEM_CONTENT = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}


def _middleware(
    settings: HttpSettings, body_limits: Mapping[tuple[str, str], int] | None
) -> list[Middleware]:
    chain = [Middleware(Context), Middleware(ServerSpan)]
    if settings.allow_origins:
        chain.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allow_origins,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["*"],
                expose_headers=["Location", "X-Request-ID", "Retry-After"],
            )
        )
    limits = Middleware(Limits, max_body_bytes=settings.max_body_bytes, others=body_limits)
    return [*chain, Middleware(Errors), limits]


def _complete_openapi(app: FastAPI) -> None:
    """Add what FastAPI does not know: the problem schema, and that a key may come as a bearer token too."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
            for unused in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(unused, None)
            _accept_bearer(document)
        assert app.openapi_schema is not None  # noqa: S101 - generate() stores it
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _accept_bearer(document: dict[str, Any]) -> None:
    schemes = document["components"].get("securitySchemes", {})
    if SCHEME in schemes:
        schemes["Bearer"] = {"type": "http", "scheme": "bearer"}
    for path in document["paths"].values():
        for operation in path.values():
            operation.get("responses", {}).pop("422", None)  # "default" says it, in the right form
            if operation.get("security") == [{SCHEME: []}]:
                operation["security"].append({"Bearer": []})
