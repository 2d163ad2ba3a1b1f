"""Builds what steps reach out with, from the settings. What takes long to import is, when the settings ask for it."""

import asyncio
from typing import TYPE_CHECKING

from services.executor.addresses import AddressPolicy
from services.executor.clients.first_use import HttpCallerOnFirstUse
from services.executor.clients.kept_files import StoredFiles
from services.executor.commands.reach import AwsProgram, Reach
from services.executor.settings import ExecutorGroup
from shared.objects.ports import ObjectStore
from shared.ports import Resource

if TYPE_CHECKING:
    from services.executor.clients.proxy import ProxyClient
    from services.executor.clients.seven_ps import SevenPsClient


def build_reach(
    settings: ExecutorGroup, objects: ObjectStore | None = None
) -> tuple[Reach, list[Resource]]:
    """The ports, and what has to be started and stopped for them."""
    local = settings.seven_ps_mode == "local"
    proxies = _proxies(settings)
    seven_ps = None if local else _seven_ps(settings)
    reach = Reach(
        aws=AwsProgram(settings.aws_program, settings.aws_endpoint_url),
        http=HttpCallerOnFirstUse(AddressPolicy(settings.http_allowed_networks)),
        files=StoredFiles(objects) if objects else None,
        browser=settings.browser(),
        virtuoso=proxies,
        seven_ps=seven_ps,
        seven_ps_lanes=asyncio.Semaphore(settings.seven_ps_local_sets) if local else None,
    )
    return reach, [*proxies.values(), *([seven_ps] if seven_ps else [])]


def _proxies(settings: ExecutorGroup) -> "dict[str, ProxyClient]":
    if settings.proxy_url is None or not settings.proxy_keys:
        return {}
    from services.executor.clients.proxy import ProxyClient

    return {tenant: ProxyClient(settings, key) for tenant, key in settings.proxy_keys.items()}


def _seven_ps(settings: ExecutorGroup) -> "SevenPsClient | None":
    if not settings.seven_ps_url:
        return None
    from services.executor.clients.seven_ps import SevenPsClient

    return SevenPsClient(settings)
