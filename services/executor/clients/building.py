"""Builds what steps reach out with, from the settings."""

import asyncio

from services.executor.addresses import AddressPolicy
from services.executor.clients.http import GuardedHttpCaller
from services.executor.clients.kept_files import StoredFiles
from services.executor.clients.proxy import ProxyClient
from services.executor.clients.seven_ps import SevenPsClient
from services.executor.commands.reach import AwsProgram, Reach
from services.executor.settings import ExecutorGroup
from shared.objects.ports import ObjectStore
from shared.ports import Resource


def build_reach(
    settings: ExecutorGroup, objects: ObjectStore | None = None
) -> tuple[Reach, list[Resource]]:
    """The ports, and what has to be started and stopped for them."""
    local = settings.seven_ps_mode == "local"
    proxies = {
        tenant: ProxyClient(settings, key)
        for tenant, key in settings.proxy_keys.items()
        if settings.proxy_url is not None
    }
    seven_ps = SevenPsClient(settings) if settings.seven_ps_url and not local else None
    reach = Reach(
        aws=AwsProgram(settings.aws_program, settings.aws_endpoint_url),
        http=GuardedHttpCaller(AddressPolicy(settings.http_allowed_networks)),
        files=StoredFiles(objects) if objects else None,
        browser=settings.browser(),
        virtuoso=proxies,
        seven_ps=seven_ps,
        seven_ps_lanes=asyncio.Semaphore(settings.seven_ps_local_sets) if local else None,
    )
    return reach, [*proxies.values(), *([seven_ps] if seven_ps else [])]
