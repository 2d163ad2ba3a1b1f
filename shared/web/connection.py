"""Where a request comes from: the address as far as it can be trusted, the program that sent it, the request's id."""

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

from shared.errors import ConfigurationError

MAX_USER_AGENT_BYTES = 512

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Networks whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        try:
            self._networks: list[Network] = [
                ipaddress.ip_network(network, strict=False) for network in networks
            ]
        except ValueError as error:
            raise ConfigurationError(f"HTTP__TRUSTED_PROXIES: {error}") from None

    def __bool__(self) -> bool:
        return bool(self._networks)

    def address(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The nearest address that no trusted proxy vouches for any further: read from the right, since callers can
        write whatever they like on the left.
        """
        address = peer
        for hop in reversed(forwarded_for):
            if not self._trusts(address) or _parse(hop) is None:
                break
            address = hop
        return address

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def client_ip(request: Request) -> str:
    """The caller's address; "unknown" where there is no connection (tests, unix sockets)."""
    if request.client is None:
        return "unknown"
    proxies: TrustedProxies = request.app.state.trusted_proxies
    if not proxies:
        return request.client.host
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    return proxies.address(request.client.host, [hop.strip() for hop in hops])


def user_agent(request: Request) -> str:
    """The caller's `User-Agent`, cut to 512 bytes of UTF-8 at a whole character."""
    text = request.headers.get("user-agent", "")
    return text.encode()[:MAX_USER_AGENT_BYTES].decode(errors="ignore")


def request_id(request: Request) -> str:
    """The id under which this request stands in the logs and in the answer's `X-Request-ID`."""
    return str(request.scope["state"]["request_id"])
