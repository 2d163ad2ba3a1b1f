"""Where everything is: embedded parts on their ports, others where the user's settings say."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from sandbox.estate import ACCOUNT
from sandbox.mongo import REPLICA_SET
from sandbox.ports import HOST
from sandbox.settings import SandboxSettings

API_KEY = "demo-key"
OTHER_KEY = "other-key"
TENANT = "demo"
WEBHOOK_SECRET = "demo-webhook-secret"
VIRTUOSO_TOKEN = "sandbox-token"
SEVEN_PS_TOKEN = "sandbox-token"
CUSTOMER = {"id": "001", "slug": "customer-001"}
SERVICES = ("gateway", "executor", "extractor", "proxy", "scanner")


@dataclass(frozen=True, slots=True)
class Addresses:
    """How services and clients reach the parts."""

    kafka: str
    mongo: str
    aws: str
    virtuoso: str
    objects: str
    services: dict[str, str]

    @classmethod
    def of(cls, settings: SandboxSettings) -> "Addresses":
        data = settings.data.absolute()
        mongo = f"mongodb://{HOST}:{settings.mongo_port}/?replicaSet={REPLICA_SET}"
        return cls(
            kafka=settings.kafka or f"{HOST}:{settings.kafka_port}",
            mongo=settings.mongo or mongo,
            aws=settings.aws or f"http://{HOST}:{settings.aws_port}",
            virtuoso=settings.virtuoso or f"http://{HOST}:{settings.virtuoso_port}/api",
            objects=settings.objects or (data / "objects").as_uri(),
            services={name: f"http://{HOST}:{settings.service_port(name)}" for name in SERVICES},
        )


def environment(settings: SandboxSettings, service: str, *, work: Path) -> dict[str, str]:
    """All variables of one service's process; what the user has set wins over the sandbox's choice."""
    addresses = Addresses.of(settings)
    keys = [
        {"key": API_KEY, "tenant": TENANT, "user": "demo", "roles": ["admin", "decrypt"]},
        {"key": OTHER_KEY, "tenant": "other", "user": "other", "roles": ["admin"]},
    ]
    ours = {
        "MONGO__MIN_POOL_SIZE": "0",
        "AUTH__API_KEYS": json.dumps(keys),
        "AUTH__WEBHOOK_SECRETS": json.dumps({TENANT: WEBHOOK_SECRET}),
        "RUNTIME__DRAIN_SECONDS": "1.5",  # Ctrl-C ends everything within 5 s
        "TELEMETRY__ENVIRONMENT": "sandbox",
        "EXECUTOR__WORK_DIR": str(work),
        # Short, so that whoever kills an executor here sees its runs recovered while still looking.
        "EXECUTOR__LEASE_SECONDS": "15",
        "EXECUTOR__RENEW_SECONDS": "3",
        "EXECUTOR__HTTP_ALLOWED_NETWORKS": json.dumps([f"{HOST}/32", "::1/128"]),
        "EXECUTOR__BROWSER_SCHEMES": json.dumps(["http", "https", "file"]),
        "EXECUTOR__AWS_PROGRAM": str(Path(sys.executable).with_name("aws")),
        "EXECUTOR__PROXY_URL": addresses.services["proxy"],
        "EXECUTOR__PROXY_KEYS": json.dumps({TENANT: API_KEY}),
        # `cadenza simulate seven-ps` starts one there; until then steps that need it try again.
        "EXECUTOR__SEVEN_PS_URL": f"http://{HOST}:{settings.seven_ps_port}",
        "EXECUTOR__SEVEN_PS_TOKEN": SEVEN_PS_TOKEN,
        "EXECUTOR__SEVEN_PS_CALLBACK_URL": addresses.services["gateway"] + "/webhook/seven-ps",
    }
    if not settings.virtuoso:
        ours["PROXY__UPSTREAM_TOKEN"] = VIRTUOSO_TOKEN
        ours["EXECUTOR__VIRTUOSO_UI_URL"] = addresses.virtuoso.removesuffix("/api")
        ours["EXTRACTOR__CUSTOMERS"] = json.dumps({CUSTOMER["id"]: _customer(addresses)})
    if not settings.aws:
        ours["AWS__ACCESS_KEY_ID"] = ACCESS_KEY_ID
        ours["AWS__SECRET_ACCESS_KEY"] = SECRET_ACCESS_KEY
        ours["EXECUTOR__AWS_ENDPOINT_URL"] = addresses.aws
        ours["SCANNER__ACCOUNTS"] = json.dumps([{"id": ACCOUNT, "name": "sandbox"}])
    fixed = {
        "KAFKA__BOOTSTRAP_SERVERS": addresses.kafka,
        "MONGO__URI": addresses.mongo,
        "OBJECTS__URI": addresses.objects,
        "AWS__ENDPOINT_URL": addresses.aws,
        "PROXY__UPSTREAM_URL": addresses.virtuoso,
        "HTTP__HOST": HOST,
        "HTTP__PORT": str(settings.service_port(service)),
    }
    return ours | settings.inherited() | fixed


def _customer(addresses: Addresses) -> dict[str, str]:
    """The sandbox's one customer, whose Virtuoso is the simulator."""
    return {
        "slug": CUSTOMER["slug"],
        "tenant": TENANT,
        "api_url": addresses.virtuoso,
        "token": VIRTUOSO_TOKEN,
    }
