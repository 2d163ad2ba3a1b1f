"""From what lies in a scan's document to what goes on `scan-results`, and from a request to a queued scan."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.scanner.models import ScanOrder, ScopeResult
from shared.events.base import Event
from shared.events.scan import ScanRequested, ScanResult
from shared.work.events import event_id
from shared.work.ports import NewItem, PendingEvent

SCOPE_FINISHED = "scope.finished"
SCAN_FINISHED = "scan.finished"
OUTCOMES = ("completed", "failed", "skipped", "cancelled")
MAX_ERRORS = 100
"""Errors of a whole scan that its event repeats; all of them stand in the scan's scopes."""


class ScanEvents:
    """Implements `shared.work.descriptor.EventFactory`."""

    def build(self, document: Mapping[str, Any], pending: PendingEvent) -> list[Event]:
        data = {name: value for name, value in pending.data.items() if value is not None}
        known = {name: data[name] for name in ScanResult.model_fields if name in data}
        if known.get("status") not in OUTCOMES:
            known["status"] = "failed"
        return [
            ScanResult.model_validate(
                {
                    **known,
                    "id": event_id(document["_id"], pending.sequence),
                    "tenant": document["tenant"],
                    "occurred_at": pending.at,
                    "type": pending.type,
                    "scan_id": document["_id"],
                }
            )
        ]


def new_scan(event: ScanRequested, *, traceparent: str | None = None) -> NewItem:
    """The request as a queued scan; `traceparent` is the W3C trace that it came with."""
    wanted = {
        "accounts": event.accounts,
        "regions": event.regions,
        "services": event.services,
        "cleanup_stale": event.cleanup_stale,
    }
    canonical = json.dumps([event.tenant, wanted], sort_keys=True, separators=(",", ":"))
    return NewItem(
        id=event.scan_id,
        tenant=event.tenant,
        content_hash=hashlib.sha256(canonical.encode()).hexdigest(),
        fields={
            **wanted,
            "requested_by": event.requested_by,
            "traceparent": traceparent,
            "scopes": [],
            **totals(()),
        },
    )


def order_of(document: Mapping[str, Any]) -> ScanOrder:
    """What a scan's document asks for."""
    return ScanOrder(
        scan_id=document["_id"],
        tenant=document["tenant"],
        requested_by=document["requested_by"],
        accounts=document["accounts"],
        regions=document["regions"],
        services=document["services"],
        cleanup_stale=document["cleanup_stale"],
    )


def recorded(document: Mapping[str, Any]) -> list[ScopeResult]:
    """The results that a former owner of the scan has stored."""
    return [ScopeResult.from_document(one) for one in document["scopes"]]


def totals(results: Sequence[ScopeResult]) -> dict[str, Any]:
    """The sums over all scopes."""
    return {
        "discovered": sum(result.discovered for result in results),
        "upserted": sum(result.upserted for result in results),
        "deleted": sum(result.deleted for result in results),
        "errors": [
            {"scope": str(result.scope), **problem.as_json()}
            for result in results
            for problem in result.problems
        ][:MAX_ERRORS],
    }
