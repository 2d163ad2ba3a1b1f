"""The only MongoDB queries of the gateway. It writes `accepted_events`, `audit_logs` and what people edit
(`app_configurations`, `schedules`); all else it only reads.
"""

from services.gateway.repository import accepted, apps, audit, schedules

COLLECTIONS = (accepted.COLLECTION, audit.COLLECTION, *apps.COLLECTIONS, schedules.COLLECTION)
