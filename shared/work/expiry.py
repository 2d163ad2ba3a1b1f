"""Items that have waited too long to start end as `timed_out(waiting_timeout)`; how long they run is another matter."""

import structlog

from shared import crash
from shared.mongo.client import translated
from shared.work.desk import Desk
from shared.work.holding import WAITING_TIMEOUT
from shared.work.indexes import START_BY_INDEX
from shared.work.pipelines import never_started

AT_ONCE = 500

_log = structlog.get_logger(__name__)


async def expire(desk: Desk) -> int:
    """End what had to have started by now; returns how many. Claims leave such items alone, so none starts late."""
    late = {"status": "queued", "start_by": {"$lte": desk.clock.now(), "$type": "date"}}
    async with translated():
        cursor = desk.items.find(late, {"_id": 1}).limit(AT_ONCE).hint(START_BY_INDEX.label)
        ids = [document["_id"] async for document in cursor]
        if not ids:
            return 0
        crash.point("expiry.before_update")
        result = await desk.items.update_many(
            {"_id": {"$in": ids}, **late}, never_started(desk.queue, "timed_out", WAITING_TIMEOUT)
        )
        crash.point("expiry.after_update")
    _log.info("work.waited_too_long", queue=desk.queue.collection, count=result.modified_count)
    desk.outbox.replay(ids)
    return result.modified_count
