from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.server.proxies import caller_address, is_within, parse_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def forwarded(*values):
    return [(b"host", b"g"), *((b"x-forwarded-for", value.encode("latin-1")) for value in values)]


@pytest.mark.parametrize(
    ("peer", "values", "caller"),
    [
        ("203.0.113.1", ["6.6.6.6"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["6.6.6.6, <script>, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_caller_is_the_rightmost_address_no_trusted_proxy_has(peer, values, caller):
    assert caller_address(peer, forwarded(*values), TRUSTED) == caller


def test_zone_of_a_link_local_address_is_no_part_of_it():
    assert str(parse_address("fe80::1%eth0")) == "fe80::1"


def test_what_is_no_address_is_within_nothing():
    assert not is_within("localhost", [ip_network("0.0.0.0/0"), ip_network("::/0")])
