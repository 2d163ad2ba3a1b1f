"""One scan: accounts one after the other, their regions side by side, the services of a region side by side.

A scope (account, region, service) succeeds or fails alone, and what became of it is stored at once. Things are swept
only in a scope that was seen whole; a region that is not open is skipped, which is neither a failure nor an empty
result. Scopes that a former owner of the scan has dealt with are not looked at again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from services.scanner.errors import Unavailable
from services.scanner.models import (
    GLOBAL,
    Account,
    Found,
    Problem,
    ScanOrder,
    Scope,
    ScopeResult,
    ScopeStatus,
)
from services.scanner.ports import Cloud, Estate, Resources
from shared import crash
from shared.clock import Clock
from shared.errors import BrokerUnavailable, CadenzaError, StorageUnavailable, TransientError
from shared.retry import RetryPolicy

EVERYWHERE = "*"
"""The region of a result that stands for all regions of an account, because none could be named."""

Record = Callable[[ScopeResult], Awaitable[None]]
T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once."""

    regions: int = 10
    services: int = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """An account of the settings, and which tenants may scan it (none named: all)."""

    account: Account
    tenants: frozenset[str] = frozenset()

    def open_to(self, tenant: str) -> bool:
        return not self.tenants or tenant in self.tenants


class ScanService:
    """Carries scans out."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        resources: Resources,
        entries: Sequence[Entry],
        regions: Sequence[str] = (),
        limits: Limits | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock,
    ) -> None:
        self._cloud = cloud
        self._resources = resources
        self._entries = entries
        self._regions = regions
        self._limits = limits or Limits()
        self._retry = retry or RetryPolicy()
        self._clock = clock

    async def scan(self, order: ScanOrder, *, done: Collection[Scope], record: Record) -> None:
        """Look at everything that is asked for and not `done`; every result goes to `record` as soon as it is there.
        Raises what `record` raises, and StorageUnavailable.
        """
        run = _Run(order, frozenset(done), record)
        known = {entry.account.id: entry for entry in self._entries}
        for account_id in dict.fromkeys(order.accounts or known):
            entry = known.get(account_id)
            if entry is None or not entry.open_to(order.tenant):
                if order.accounts:
                    await self._unknown(run, account_id)
                continue
            await self._account(run, entry.account)

    async def _unknown(self, run: "_Run", account_id: str) -> None:
        problem = Problem("unknown_account", f"account {account_id} is not configured")
        for service in self._services(run.order):
            await run.put(_failed(Scope(account_id, EVERYWHERE, service), problem))

    async def _account(self, run: "_Run", account: Account) -> None:
        regional, everywhere = self._split(self._services(run.order))
        for service in set(run.order.services) - set(self._cloud.services()):
            problem = Problem("unsupported_service", f"'{service}' is not supported")
            await run.put(_failed(Scope(account.id, EVERYWHERE, service), problem))
        try:
            estate = await self._again(lambda: self._cloud.enter(account))
        except _PASSED_ON:
            raise
        except CadenzaError as error:
            await self._refused(run, account, [*regional, *everywhere], error)
            return
        places = {GLOBAL: everywhere} if everywhere else {}
        if regional:
            try:
                places |= dict.fromkeys(await self._open_regions(run.order, estate), regional)
            except _PASSED_ON:
                raise
            except CadenzaError as error:
                await self._refused(run, account, regional, error)
        await self._places(run, estate, account, places)

    async def _refused(
        self, run: "_Run", account: Account, services: Sequence[str], error: CadenzaError
    ) -> None:
        """Not let into the account at all: that is a failure, whatever AWS calls it."""
        for service in services:
            await run.put(_failed(Scope(account.id, EVERYWHERE, service), _problem(error)))

    async def _open_regions(self, order: ScanOrder, estate: Estate) -> Sequence[str]:
        return order.regions or self._regions or await self._again(estate.regions)

    async def _places(
        self,
        run: "_Run",
        estate: Estate,
        account: Account,
        places: Mapping[str, Sequence[str]],
    ) -> None:
        regions = asyncio.Semaphore(self._limits.regions)

        async def one_place(region: str, services: Sequence[str]) -> None:
            async with regions:
                slots = asyncio.Semaphore(self._limits.services)
                await _all(
                    self._scope(run, estate, Scope(account.id, region, service), slots)
                    for service in services
                )

        await _all(one_place(region, services) for region, services in places.items())

    async def _scope(
        self, run: "_Run", estate: Estate, scope: Scope, slots: asyncio.Semaphore
    ) -> None:
        if scope in run.done:
            return
        async with slots:
            started = self._clock.monotonic()
            try:
                result = await self._look(run.order, estate, scope)
            except _PASSED_ON:
                raise
            except CadenzaError as error:
                result = _ended(scope, error)
            except Exception as error:  # a mistake of ours ends this scope, not the scan
                log.exception("scan.scope_broke", scope=str(scope))
                result = _failed(scope, Problem("internal", type(error).__name__))
            await run.put(result, milliseconds=round((self._clock.monotonic() - started) * 1000))

    async def _look(self, order: ScanOrder, estate: Estate, scope: Scope) -> ScopeResult:
        since = await self._resources.server_time()
        found = await self._again(lambda: estate.look(scope))
        upserted = await self._resources.upsert(
            found.resources, tenant=order.tenant, scope=scope, scan_id=order.scan_id
        )
        crash.point("scan.after_upsert")
        deleted = 0
        if found.whole and order.cleanup_stale:
            deleted = await self._resources.sweep(scope, tenant=order.tenant, unseen_since=since)
        crash.point("scan.after_sweep")
        return ScopeResult(
            scope=scope,
            status="completed" if found.whole else "failed",
            reason=None if found.whole else _what_was_lost(found),
            discovered=len(found.resources),
            upserted=upserted,
            deleted=deleted,
            problems=found.problems,
        )

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try a call to AWS again while AWS is busy."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await call()
            except _PASSED_ON:
                raise
            except TransientError:
                delay = self._retry.delay_after(attempt)
                if delay is None:
                    raise
                await self._clock.sleep(delay)

    def _services(self, order: ScanOrder) -> list[str]:
        return list(dict.fromkeys(order.services or self._cloud.services()))

    def _split(self, services: Sequence[str]) -> tuple[list[str], list[str]]:
        """Those that are listed per region, and those that are listed once."""
        known = self._cloud.services()
        regional = [one for one in services if known.get(one) is False]
        return regional, [one for one in services if known.get(one) is True]


_PASSED_ON = (StorageUnavailable, BrokerUnavailable)
"""Trouble on our own side says nothing about a scope: the scan is taken up again later."""


@dataclass(frozen=True, slots=True)
class _Run:
    order: ScanOrder
    done: frozenset[Scope]
    record: Record

    async def put(self, result: ScopeResult, *, milliseconds: int = 0) -> None:
        if result.scope in self.done:
            return
        log.info(
            "scan.scope_finished",
            scan_id=self.order.scan_id,
            scope=str(result.scope),
            status=result.status,
            reason=result.reason,
            discovered=result.discovered,
            deleted=result.deleted,
        )
        await self.record(_timed(result, milliseconds))


def _timed(result: ScopeResult, milliseconds: int) -> ScopeResult:
    return ScopeResult(
        result.scope,
        result.status,
        result.reason,
        result.discovered,
        result.upserted,
        result.deleted,
        result.problems,
        milliseconds,
    )


def _ended(scope: Scope, error: CadenzaError) -> ScopeResult:
    status: ScopeStatus = "skipped" if isinstance(error, Unavailable) else "failed"
    return ScopeResult(scope, status, reason=error.message, problems=[_problem(error)])


def _problem(error: CadenzaError) -> Problem:
    return Problem(str(error.context.get("aws_code", error.code)), error.message)


def _failed(scope: Scope, problem: Problem) -> ScopeResult:
    return ScopeResult(scope, "failed", reason=problem.message, problems=[problem])


def _what_was_lost(found: Found) -> str:
    return f"not everything could be read ({len(found.problems)} problems); nothing was swept"


async def _all(coroutines: "Any") -> None:
    """Run all; the first error ends the rest and is raised as itself."""
    tasks: list[Coroutine[Any, Any, None]] = list(coroutines)
    try:
        async with asyncio.TaskGroup() as group:
            for one in tasks:
                group.create_task(one)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
