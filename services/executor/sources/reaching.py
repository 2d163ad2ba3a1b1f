"""Where git may connect to: what `http` steps may reach, and nothing else.

The name of a repository's host is resolved here, each address is looked at, and git is told to use just these, so that
a name that changes its meaning a moment later leads nowhere else. It follows no redirect then. (What is reached by ssh
has to show a known key as well, so there the look is enough.) Behind a proxy of the settings the proxy decides.
"""

import asyncio
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.executor.addresses import AddressPolicy
from services.executor.sources.problems import SourceFailed, SourceRefused

_PORTS = {"http": 80, "https": 443, "ssh": 22}
_SCP = re.compile(r"(?:[^/@]+@)?(?P<host>\[[^\]]+\]|[^/:@\[]+):(?!//)")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


@dataclass(frozen=True, slots=True)
class Host:
    """Where a repository is; by http or not."""

    name: str
    port: int
    web: bool


def host_of(url: str) -> Host | None:
    """None: on this machine's disk (`file:`), which the settings allow or not."""
    parts = urlsplit(url)
    if parts.scheme in _PORTS and parts.hostname:
        port = parts.port or _PORTS[parts.scheme]
        return Host(parts.hostname, port, web=parts.scheme != "ssh")
    found = None if parts.scheme and "://" in url else _SCP.match(url)
    return Host(found["host"].strip("[]"), 22, web=False) if found else None


async def settings_to_reach(
    url: str, policy: AddressPolicy | None, variables: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Settings for git, so that it connects to where it may. Raises SourceRefused, SourceFailed."""
    host = host_of(url)
    if policy is None or host is None:
        return []
    if host.web and {name.lower() for name in variables} & _PROXIES:
        return []
    addresses = await _addresses(host)
    admitted = [one for one in addresses if policy.admits(one)]
    if not admitted:
        raise SourceRefused(
            f"{host.name} ({addresses[0]}) is this machine's, a private or a reserved address; the executor's"
            " setting EXECUTOR__HTTP_ALLOWED_NETWORKS says which of them sources may come from"
        )
    if not host.web:
        return []
    written = ",".join(f"[{one}]" if ":" in one else one for one in admitted)
    name = f"[{host.name}]" if ":" in host.name else host.name
    return [
        ("http.curloptResolve", f"{name}:{host.port}:{written}"),
        ("http.followRedirects", "false"),
    ]


async def _addresses(host: Host) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host.name, host.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        raise SourceFailed(f"the host name {host.name} has no address") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
