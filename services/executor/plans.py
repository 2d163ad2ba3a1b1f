"""Where the plan of a run comes from: the event or document itself, or object storage for a large one."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from services.executor.errors import PlanUnavailable
from shared.objects.ports import ObjectMissing, ObjectStore


async def fetch(objects: ObjectStore, stored: Mapping[str, str]) -> dict[str, Any]:
    """The stored plan. Raises PlanUnavailable when it is gone or altered, StorageUnavailable when the store is down."""
    try:
        data = await objects.get(objects.key_of(stored["uri"]))
    except ObjectMissing:
        raise PlanUnavailable("the stored plan is gone", uri=stored["uri"]) from None
    if hashlib.sha256(data).hexdigest() != stored["sha256"]:
        raise PlanUnavailable("the stored plan has been altered", uri=stored["uri"])
    plan: dict[str, Any] = json.loads(data)
    return plan
