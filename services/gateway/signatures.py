"""Signatures of inbound webhooks: HMAC-SHA256 of the raw body under the tenant's secret.

An unknown tenant and a wrong signature take the same time and give the same answer. A tenant without a secret, or with
an empty one, accepts no signature at all: an empty key would sign anything for anybody.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from services.gateway.errors import BadSignature

PREFIX = "sha256="


class Signatures:
    """Checks signatures against the tenants' secrets."""

    def __init__(self, secrets_by_tenant: Mapping[str, str]) -> None:
        self._secrets = {tenant: secret for tenant, secret in secrets_by_tenant.items() if secret}
        self._nobody = secrets.token_hex(32)

    def verify(self, tenant: str | None, raw: bytes, signature: str) -> str:
        """The tenant, when the signature is its own. Raises BadSignature."""
        secret = self._secrets.get(tenant or "", self._nobody)
        expected = PREFIX + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode()) or not tenant:
            raise BadSignature("the signature does not match X-Cadenza-Tenant and the body")
        return tenant
