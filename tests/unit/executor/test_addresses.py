"""Which addresses `http` steps may reach."""

from ipaddress import ip_network

import pytest

from services.executor.addresses import AddressPolicy

CLOSED = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "169.254.1.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::7f00:1", "64:ff9b::7f00:1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "no address", ""),
]
OPEN = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", CLOSED)
def test_what_is_not_public_is_closed(address):
    assert not AddressPolicy().admits(address)


@pytest.mark.parametrize("address", OPEN)
def test_public_addresses_are_open(address):
    assert AddressPolicy().admits(address)


def test_allowed_networks_open_exactly_themselves():
    policy = AddressPolicy([ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")])
    assert policy.admits("10.1.2.3")
    assert policy.admits("::ffff:10.1.2.3")
    assert policy.admits("fd00:1::5")
    assert not policy.admits("10.2.0.1")
    assert not policy.admits("127.0.0.1")
    assert not policy.admits("fd00:2::5")
