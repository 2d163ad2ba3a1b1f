"""One small application with a route of every kind that matters at the edge."""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared import errors
from shared.errors import FieldError
from shared.runtime import Health
from shared.settings import ApiKey, AuthSettings, HttpSettings
from shared.web.app import build_web_app
from shared.web.auth import ApiKeyAuthenticator, Caller, Principal, require
from shared.web.connection import client_ip, request_id, user_agent
from shared.web.direct import DirectRoute

KEY = {"x-api-key": "demo-key"}


class Step(BaseModel):
    name: str
    after: list[str] = []


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: list[Step] = Field(min_length=1)


class Wanted(BaseModel):
    plan: Plan


RAISED = {
    "retry": errors.Overloaded(retry_after=2.2),
    "limited": errors.RateLimited(),
    "upstream": errors.UpstreamUnavailable("virtuoso did not answer in time"),
    "conflict": errors.Conflict("the run has ended"),
    "rules": errors.InvalidRequest(errors=[FieldError("plan", "cycle", "a → b → a")]),
    "bug": RuntimeError("password=hunter2"),
    "settings": errors.ConfigurationError("a setting"),
}


def build_routes() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/runs", status_code=202)
    async def accept(wanted: Wanted, caller: Caller) -> dict[str, str]:
        return {"tenant": caller.tenant, "first": wanted.plan.steps[0].name}

    @router.post("/direct", status_code=202)
    async def direct(request: Request, caller: Caller) -> Response:
        return await accept_directly(request, caller)

    @router.get("/runs")
    async def found(limit: Annotated[int, Field(ge=1, le=100)] = 10) -> dict[str, int]:
        return {"limit": limit}

    @router.get("/admin")
    async def admin(caller: Annotated[Principal, Depends(require("admin"))]) -> dict[str, str]:
        return {"user": caller.user}

    @router.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name]

    @router.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @router.get("/me")
    async def me(request: Request) -> dict[str, str]:
        return {
            "ip": client_ip(request),
            "agent": user_agent(request),
            "request_id": request_id(request),
        }

    return router


async def accept_directly(request: Request, caller: Principal) -> JSONResponse:
    """What the route `/v1/direct` does, without the framework."""
    body = await request.json()
    if "raise" in body:
        raise RAISED[body["raise"]]
    return JSONResponse({"tenant": caller.tenant, "ip": client_ip(request)}, 202)


def build(health: Health | None = None, **settings) -> FastAPI:
    auth = AuthSettings(
        api_keys=[
            ApiKey(key=SecretStr("demo-key"), tenant="demo", user="demo", roles=["admin"]),
            ApiKey(key=SecretStr("other-kéy"), tenant="other", user="eve"),
        ]
    )
    return build_web_app(
        title="Cadenza test",
        version="1.2.3",
        settings=HttpSettings(**settings),
        health=health or Health(),
        routers=[build_routes()],
        authenticator=ApiKeyAuthenticator(auth),
        direct=[DirectRoute("POST", "/v1/direct", accept_directly)],
    )
