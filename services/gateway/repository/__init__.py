"""The only MongoDB queries of the gateway. It writes `accepted_events` and `audit_logs`; all else it only reads."""

from services.gateway.repository import accepted, audit

COLLECTIONS = (accepted.COLLECTION, audit.COLLECTION)
