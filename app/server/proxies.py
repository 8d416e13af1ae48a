"""Who is at the other end: the socket's peer, or the caller that a trusted proxy names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network


def parse_address(text: str) -> Address | None:
    """None for what is no address; an IPv4 address inside IPv6 becomes the IPv4 address it is."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_within(text: str, networks: Iterable[Network]) -> bool:
    """Whether an address, as text, belongs to one of the networks; what is no address never does."""
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


def caller_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> str:
    """The rightmost address of X-Forwarded-For that is not a trusted proxy, if the peer is one.

    Reading from the right, nothing a caller wrote itself is believed; an entry that is no address
    ends the reading at the last hop that was one.
    """
    if not is_within(peer, trusted):
        return peer
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    caller = peer
    for hop in reversed(",".join(values).split(",")):
        address = parse_address(_without_port(hop.strip()))
        if address is None:
            break
        caller = str(address)
        if not any(address in network for network in trusted):
            break
    return caller


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
