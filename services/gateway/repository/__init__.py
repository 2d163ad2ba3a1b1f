"""The only MongoDB queries of the gateway.

It writes `accepted_events`, `audit_logs` and what people edit over REST (`secrets`, `variables`); it reads all else.
"""

from services.gateway.repository import accepted, audit, tenant_values

COLLECTIONS = (accepted.COLLECTION, audit.COLLECTION, *tenant_values.COLLECTIONS)
