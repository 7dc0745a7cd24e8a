"""Which addresses an outgoing call may reach."""

import ipaddress
from collections.abc import Iterator, Sequence

IPv4or6 = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
"""What `allow_private = true` allows: this machine and private networks. What is local to a link is not among them."""
METADATA = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")))
"""Where clouds tell a machine its own secrets: allowed only by a network that is written out."""
_GLOBAL = ipaddress.IPv6Network("2000::/3")
"""The addresses of version 6 that are given out for use in the whole Internet."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NEVER: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)
"""Reserved ranges that some versions of Python take for global: protocols' own, documentation, old relays."""


def networks(allow_private: bool | Sequence[str]) -> tuple[Network, ...]:  # noqa: FBT001  # as the file has it
    """Return the networks that may be reached besides public addresses.

    Raises:
        ValueError: a text is no network; its own text is what it says.
    """
    if isinstance(allow_private, bool):
        return PRIVATE if allow_private else ()
    made = []
    for text in allow_private:
        try:
            made.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"{text} is no network such as 10.1.0.0/16") from error
    return tuple(made)


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Tell whether a call may go to an address: a public one, or one in an allowed network.

    Where an address of version 6 carries one of version 4, which a gateway would go on to, that one counts too.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(part) or _is_allowed(part, allowed) for part in _parts(parsed))


def _parts(address: IPv4or6) -> Iterator[IPv4or6]:
    """Yield the addresses that a call to an address reaches: itself, or what stands in it."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
    elif address in _MAPPED or address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour


def _is_public(address: IPv4or6) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL:
        return False
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _is_allowed(address: IPv4or6, allowed: Sequence[Network]) -> bool:
    if address.is_multicast or address.is_unspecified:
        return False
    if address in METADATA:
        allowed = [network for network in allowed if network not in PRIVATE]
    return any(address in network for network in allowed if network.version == address.version)
