"""The only MongoDB queries of the gateway. It writes `accepted_events`, `audit_logs` and what people edit
(`app_configurations`, `schedules`) or send (`secrets`, `variables`, `uploads`); all else it only reads.
"""

from services.gateway.repository import accepted, apps, audit, schedules, tenant_values, uploads

COLLECTIONS = (
    accepted.COLLECTION,
    audit.COLLECTION,
    *apps.COLLECTIONS,
    schedules.COLLECTION,
    *tenant_values.COLLECTIONS,
    uploads.COLLECTION,
)
