"""To which addresses the server may connect.

Administrators set the URLs of providers. Without this check, such a URL could make the
server call services that only its own machine or network can reach (SSRF).
"""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address

# Clouds give credentials to anyone who can connect to these.
_METADATA: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple(
    (ip_network(text), "a metadata address of a cloud")
    for text in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::254/128",  # Google Cloud
    )
)
_NEVER: tuple[tuple[IPv4Network | IPv6Network, str], ...] = (
    *_METADATA,
    (ip_network("169.254.0.0/16"), "a link-local address"),  # RFC 3927; most metadata services
    (ip_network("fe80::/10"), "a link-local address"),  # RFC 4291, section 2.5.6
    (ip_network("224.0.0.0/4"), "a multicast address"),  # RFC 5771
    (ip_network("ff00::/8"), "a multicast address"),  # RFC 4291, section 2.7
    (ip_network("0.0.0.0/8"), "an unspecified address"),  # RFC 1122, section 3.2.1.3
    (ip_network("::/128"), "an unspecified address"),  # RFC 4291, section 2.5.2
    (ip_network("240.0.0.0/4"), "a reserved address"),  # RFC 1112, section 4; broadcast too
)
_LOOPBACK = ip_network("::1/128")
# IPv6 addresses whose last 32 bits are an IPv4 address to which a packet may go.
_LAST_BITS = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible: RFC 4291, section 2.5.5.1
        "::ffff:0:0/96",  # IPv4-mapped: RFC 4291, section 2.5.5.2
        "::ffff:0:0:0/96",  # IPv4-translated: RFC 2765, section 2.1
        "64:ff9b::/96",  # NAT64: RFC 6052, section 2.1
        "64:ff9b:1::/48",  # NAT64 of a network: RFC 8215
    )
)
_SIX_TO_FOUR = IPv6Network("2002::/16")  # RFC 3056
_TEREDO = IPv6Network("2001::/32")  # RFC 4380
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1
_MASK = 0xFFFFFFFF


@lru_cache(1024)
def address_problem(text: str, *, allow_private: bool) -> str:
    """Why the server may not connect to an address; "" if it may.

    Raises:
        ValueError: the text is not an address.
    """
    address = ip_address(text.partition("%")[0])
    for each in (address, *_inside(address)):
        for network, problem in _NEVER:
            if each in network:
                return problem
    if allow_private:
        return ""
    inside = tuple(_inside(address))
    private = any(not _is_global(each) for each in inside or (address,))
    return "a loopback or private address" if private else ""


def _is_global(address: Address) -> bool:
    # RFC 3879 deprecated site-local addresses; Python counts them as global.
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not is_site_local


def _inside(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which packets to an IPv6 address may go."""
    if isinstance(address, IPv4Address) or address in _LOOPBACK or not int(address):
        return
    bits = int(address)
    if any(address in network for network in _LAST_BITS) or bits >> 32 & _MASK in _ISATAP:
        yield IPv4Address(bits & _MASK)
    if address in _SIX_TO_FOUR:
        yield IPv4Address(bits >> 80 & _MASK)
    if address in _TEREDO:
        yield IPv4Address(bits >> 64 & _MASK)
        yield IPv4Address(~bits & _MASK)
