"""The only MongoDB queries of the gateway.

It writes `accepted_events`, `audit_logs` and what people send over REST (`secrets`, `variables`, `uploads`); it reads
all else.
"""

from services.gateway.repository import accepted, audit, tenant_values, uploads

COLLECTIONS = (
    accepted.COLLECTION,
    audit.COLLECTION,
    *tenant_values.COLLECTIONS,
    uploads.COLLECTION,
)
