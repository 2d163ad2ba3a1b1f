"""One HTTP request, what its answer must be, and what of it later steps may use."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator

from services.executor.commands.base import Command, CommandContext, Outcome, Params, failed
from services.executor.commands.reach import HttpAnswer, HttpFailed, HttpRequest
from services.executor.http_steps.expectations import Expect, JsonPath
from services.executor.http_steps.request_body import HttpBody, Scalar, as_text, encoded, form_text
from shared.plans.plan import Name

OUTPUTS = frozenset({"status", "headers", "body", "size_bytes", "latency_ms", "url"})


class HttpParams(Params):
    """Send an HTTP request and check the answer."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = "GET"
    """Which method."""
    url: str = Field(pattern=r"^(?:https?://[^\s]+|\$\{\{.*)$", max_length=8192)
    """`http://` or `https://`. Addresses of this machine and of private networks are refused unless the executor's
    settings allow them, also behind names and redirects."""
    query: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict, max_length=200)
    """Added to the address; a list repeats the name."""
    headers: dict[Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")], Scalar] = Field(
        default_factory=dict, max_length=100
    )
    """Headers of the request. Secrets belong here or in the body, as `${{ secrets.x }}`."""
    body: HttpBody | None = None
    """What is sent: `{json: …}`, `{text: …}` or `{form: …}`."""
    follow_redirects: bool = False
    """Follow up to 10 redirects; another origin than the first gets plain headers only, no credentials."""
    verify_tls: bool = True
    """False: any certificate will do."""
    timeout_seconds: float = Field(30, gt=0, le=3600)
    """For the whole answer; the step's own timeout holds beside it."""
    max_response_bytes: int = Field(1024 * 1024, ge=1, le=10 * 1024 * 1024)
    """A larger body ends the step as `failed(response_too_large)`."""
    expect: Expect = Field(default_factory=Expect)
    """What the answer must be: `status`, `max_ms`, `headers`, `body`, `json` (JSONPath checks), `schema`. Without a
    `status` anything below 400 will do."""
    extract: dict[Name, JsonPath] = Field(default_factory=dict, max_length=100)
    """Name of an output → JSONPath into the body. A path that finds nothing fails the step."""

    @field_validator("headers")
    @classmethod
    def _one_line(cls, headers: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in headers.items():
            if any(char in str(value) for char in "\r\n\0"):
                raise ValueError(f"the value of '{name}' must be one line")
        return headers

    @field_validator("extract")
    @classmethod
    def _free_names(cls, extract: dict[str, str]) -> dict[str, str]:
        if taken := OUTPUTS.intersection(extract):
            raise ValueError(f"'{min(taken)}' is an output of its own")
        return extract


class Http(Command[HttpParams]):
    """Sends the request once and sets `status`, `headers`, `body`, `size_bytes`, `latency_ms`, `url` and the extracts
    as outputs. Ends `failed(assertion_failed)` when the answer is not as expected, `failed(upstream_error)` for a
    status of 500 and above of which the plan says nothing.
    """

    type = "http"
    params = HttpParams

    async def run(self, params: HttpParams, ctx: CommandContext) -> Outcome:
        if ctx.reach.http is None:
            return failed("not_available", "this executor makes no HTTP requests")
        from services.executor.http_steps import judging  # its libraries come with the services

        try:
            judging.check(params.expect, params.extract)
            request = request_of(params, ctx)
        except ValueError as error:
            return failed("invalid_arguments", str(error))
        await _say(ctx, f"> {request.method} {request.url}")
        answer = await _within(ctx, ctx.reach.http.call(request))
        if isinstance(answer, Outcome):
            return answer
        size = len(answer.body)
        await _say(ctx, f"< {answer.status}, {size} bytes, {answer.latency_ms:.0f} ms")
        return await _judged(params, ctx, answer)


def request_of(params: HttpParams, ctx: CommandContext) -> HttpRequest:
    """What goes out. Raises ValueError for an address that is none."""
    parts = urlsplit(params.url)
    if not parts.hostname:
        raise ValueError("url: there is no host in it")
    query = "&".join(filter(None, (parts.query, form_text(params.query))))
    headers = {name: as_text(value) for name, value in params.headers.items()}
    body, kind = encoded(params.body)
    if kind and "content-type" not in {name.lower() for name in headers}:
        headers["content-type"] = kind
    left = params.timeout_seconds
    if ctx.deadline is not None:
        left = min(left, max(0.001, ctx.deadline - time.monotonic()))
    return HttpRequest(
        method=params.method,
        url=urlunsplit((*parts[:3], query, "")),
        headers=headers,
        body=body,
        follow_redirects=params.follow_redirects,
        verify_tls=params.verify_tls,
        max_bytes=params.max_response_bytes,
        timeout=left,
    )


async def _within(ctx: CommandContext, call: Awaitable[HttpAnswer]) -> HttpAnswer | Outcome:
    """The answer, or how the step ends without one."""
    calling = asyncio.ensure_future(call)
    cancelled = asyncio.ensure_future(ctx.cancel.wait())
    try:
        await asyncio.wait({calling, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        if not calling.done():
            return Outcome("cancelled", "cancelled", "cancelled while waiting for the answer")
        return calling.result()
    except HttpFailed as error:
        if ctx.deadline is not None and time.monotonic() >= ctx.deadline:
            return Outcome("timed_out", "timeout", "the time limit has passed")
        return failed(error.reason, str(error))
    finally:
        calling.cancel()
        cancelled.cancel()
        await asyncio.gather(calling, cancelled, return_exceptions=True)


async def _judged(params: HttpParams, ctx: CommandContext, answer: HttpAnswer) -> Outcome:
    """Whether the answer is as expected. Looking at a large one must not hold up other runs."""
    from services.executor.http_steps import judging
    from services.executor.http_steps.answers import outputs_of, read
    from services.executor.http_steps.schema_check import misfits

    seen = await asyncio.to_thread(read, answer)
    judgements = await asyncio.to_thread(lambda: list(judging.judge(params.expect, seen)))
    extracted, missing = await asyncio.to_thread(judging.extract, params.extract, seen)
    wrong = [one.text for one in judgements if not one.holds] + missing
    if params.expect.schema_ is not None:
        misfit = await misfits(params.expect.schema_, seen, ctx)
        if isinstance(misfit, Outcome):
            return misfit
        wrong += misfit
    for one in judgements:
        await _say(ctx, f"{'ok ' if one.holds else 'NOT'} {one.text}")
    outputs = {**outputs_of(answer, seen, ctx.redactor), **extracted}
    if not wrong:
        return Outcome("completed", outputs=outputs)
    broken = answer.status >= 500 and params.expect.status is None
    reason = "upstream_error" if broken else "assertion_failed"
    return Outcome("failed", reason, judging.summary(wrong), outputs=outputs)


async def _say(ctx: CommandContext, line: str) -> None:
    await ctx.emit("stdout", ctx.redactor.redact(line) + "\n")
