"""Which addresses steps may reach by HTTP, by a browser or by git: public ones, and networks that the settings allow.

Everything else (this machine, private and link-local networks, where clouds keep their metadata) is the platform's
side. An IPv4 address inside an IPv6 one counts as what it is.
"""

import ipaddress
from collections.abc import Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class AddressPolicy:
    """Says whether an address may be connected to."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def admits(self, text: str) -> bool:
        """`text` is an address as the system gives it, perhaps with a zone (`fe80::1%eth0`)."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return all(self._may(one) for one in _meanings(address))

    def _may(self, address: Address) -> bool:
        if any(address.version == net.version and address in net for net in self._allowed):
            return True
        return address.is_global and not address.is_multicast and not address.is_reserved


def _meanings(address: Address) -> Iterator[Address]:
    """The IPv4 address behind an IPv6 one, or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    else:
        yield address
