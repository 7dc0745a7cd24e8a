"""Which addresses a call may reach: public ones, and those in networks that the operator allows."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declared.conftest import code_of, section_of
from declared.servers import answer, raw_server
from portrait.declared import connecting
from portrait.declared.address import may_reach, networks

REFUSED = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "169.254.0.1", "100.64.0.1", "100.100.100.200", "0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "2001::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::", "3fff::1", "100::1",
    "5f00::1", "", "localhost", "1.2.3", "0x7f000001", "127.1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
PRIVATE = ["127.0.0.1", "10.2.3.4", "192.168.1.1", "172.20.0.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
FILE = """
[sections.parcels]
description = "Parcels."
timeout = 3
[sections.parcels.http]
url = "http://{host}/{{customer_id}}?{{tenant_id}}"
allow_http = true
allow_private = {allowed}
"""


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address):
    assert not may_reach(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_reached(address):
    assert may_reach(address, ())


@pytest.mark.parametrize("address", PRIVATE)
def test_private_networks_may_be_reached_where_that_is_allowed(address):
    assert may_reach(address, networks(True))
    assert not may_reach(address, networks(False))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "fe80::1",
        "169.254.0.1",
        "224.0.0.1",
        "0.0.0.0",
        "::ffff:169.254.169.254",
    ],
)
def test_metadata_and_what_is_local_to_a_link_are_not_among_private_networks(address):
    assert not may_reach(address, networks(True))


def test_a_network_that_is_written_out_may_be_reached_and_no_other():
    allowed = networks(["10.1.0.0/16", "169.254.169.254/32", "fd00:ec2::/64"])
    for address in ("10.1.2.3", "169.254.169.254", "fd00:ec2::254", "::ffff:10.1.2.3", "64:ff9b::a01:203", "8.8.8.8"):
        assert may_reach(address, allowed)
    for address in ("10.2.0.1", "127.0.0.1", "169.254.169.253", "fd00:ec3::1", "64:ff9b::a02:203"):
        assert not may_reach(address, allowed)


def test_multicast_is_never_reached():
    everything = networks(["0.0.0.0/0", "::/0"])
    for address in ("224.0.0.1", "ff02::1", "0.0.0.0", "::"):
        assert not may_reach(address, everything)


@given(st.ip_addresses(v=4))
def test_of_version_4_only_what_python_calls_global_may_be_reached(address):
    if may_reach(str(address), ()):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))


@given(st.ip_addresses(v=4))
def test_an_address_within_another_counts_as_itself(address):
    packed = int(address)
    alone = may_reach(str(address), ())
    for within in (
        ipaddress.IPv6Address(0xFFFF << 32 | packed),
        ipaddress.IPv6Address(0x0064FF9B << 96 | packed),
        ipaddress.IPv6Address(0x2002 << 112 | packed << 80 | 1),
    ):
        assert may_reach(str(within), ()) == alone


@given(st.ip_addresses(v=6))
def test_of_version_6_only_global_unicast_may_be_reached(address):
    carried = any(address in ipaddress.ip_network(network) for network in ("64:ff9b::/96", "::ffff:0:0/96"))
    if may_reach(str(address), ()) and not carried:
        assert address in ipaddress.ip_network("2000::/3")
        assert not any((address.is_private, address.is_link_local, address.is_multicast, address.is_loopback))


@given(st.ip_addresses(network=ipaddress.ip_network("2001:db8:1::/48")), st.ip_addresses(v=6))
def test_an_allowed_network_is_reached_and_changes_nothing_else(inside, other):
    allowed = networks(["2001:db8:1::/48"])
    assert may_reach(str(inside), allowed)
    if other not in ipaddress.ip_network("2001:db8:1::/48"):
        assert may_reach(str(other), allowed) == may_reach(str(other), ())


@pytest.fixture
def names(monkeypatch):
    """Return the addresses that names lead to, by name; and how often each was asked for."""
    leading, asked = {}, []

    def resolve(host, port):
        asked.append(host)
        if host not in leading:
            raise OSError("no such name")
        return leading[host]

    monkeypatch.setattr(connecting, "resolve", resolve)
    leading["asked"] = asked
    return leading


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
async def test_a_name_that_leads_to_this_machine_is_not_called(declared, names, caplog, addresses):
    async with raw_server(answer([1])) as server:
        names["parcels.example"] = addresses
        text = FILE.format(host=f"parcels.example:{server.port}", allowed="false")
        async with declared(text) as running:
            code, detail = await code_of(running)
        assert (code, detail) == ("source_failed", "The source has an address that calls may not go to.")
        assert (server.connections, server.requests) == (0, [])
    assert "allow_private" in caplog.text
    assert "127.0.0.1" not in detail


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"])
async def test_an_address_in_the_url_is_checked_too(declared, host):
    async with raw_server(answer([1])) as server:
        async with declared(FILE.format(host=f"{host}:{server.port}", allowed="false")) as running:
            assert (await code_of(running))[0] == "source_failed"
        assert server.connections == 0


@pytest.mark.parametrize("allowed", ["true", '["127.0.0.0/8"]'])
async def test_an_allowed_address_is_called_by_the_name_of_the_url(declared, names, allowed):
    async with raw_server(answer([1])) as server:
        names["parcels.example"] = ["127.0.0.1"]
        text = FILE.format(host=f"Parcels.example:{server.port}", allowed=allowed)
        async with declared(text) as running:
            assert (await section_of(running))["data"] == [1]
        assert f"Host: parcels.example:{server.port}\r\n" in server.requests[0]


async def test_a_name_is_resolved_once_for_a_connection(declared, names):
    """What a name leads to after the check is never asked."""
    async with raw_server(answer([1])) as server:
        names["parcels.example"] = ["127.0.0.1"]
        text = FILE.format(host=f"parcels.example:{server.port}", allowed="true")
        async with declared(text) as running:
            for _ in range(3):
                assert (await section_of(running))["data"] == [1]
        assert names["asked"] == ["parcels.example"]


async def test_an_address_that_does_not_answer_is_passed_over(declared, names):
    async with raw_server(answer([1])) as server:
        names["parcels.example"] = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
        async with declared(FILE.format(host=f"parcels.example:{server.port}", allowed="true")) as running:
            assert (await section_of(running))["data"] == [1]


async def test_a_name_that_nobody_knows_is_a_failure(declared, names):
    async with declared(FILE.format(host="nowhere.example", allowed="false")) as running:
        assert await code_of(running) == ("source_failed", "The source cannot be reached.")


def test_what_is_no_network_is_refused():
    with pytest.raises(ValueError, match=r"10\.1\.0\.1/16 is no network"):
        networks(["10.1.0.1/16"])
