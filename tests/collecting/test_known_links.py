"""A link that was recorded is not handed on with each event that says it again; one that was refused is tried again."""

import pytest

from harness import TENANT
from portrait.collecting import known_links
from portrait.collecting.known_links import KnownLinks
from portrait.model.identifier import customer


def seen(number, **more):
    return {
        "type": "track", "messageId": f"m{number}", "event": "Seen", "timestamp": "2026-06-01T11:00:00Z", **more,
    }  # fmt: skip


@pytest.fixture
def counted(web, monkeypatch):
    """Count the records that are handed on of each request."""
    counts = []
    recorder = web.served.services.recorder
    for name in ("record_each", "record_all"):
        original = getattr(recorder, name)

        async def record(tenant, incoming, original=original):
            counts.append(len(incoming))
            return await original(tenant, incoming)

        monkeypatch.setattr(recorder, name, record)
    return counts


async def test_a_link_is_handed_on_once_for_its_source_and_pair(web, server, counted):
    for number in range(3):
        await web.batch(seen(number, userId="u1", anonymousId="a1"), seen(f"{number}b", userId="u1", anonymousId="a1"))
    await web.batch(seen(5, userId="u1", anonymousId="a2"))
    await server.batch(seen(6, userId="u1", anonymousId="a1"))
    assert counted == [3, 2, 2, 2, 2]
    facts = await web.served.services.store.facts(TENANT, [customer("u1")])
    assert sum(fact.section == "identities" for fact in facts) == 3


async def test_a_link_is_handed_on_again_after_a_while(web, counted, monkeypatch):
    monkeypatch.setattr(known_links, "KNOWN_SECONDS", 0.0)
    for number in range(2):
        await web.batch(seen(number, userId="u1", anonymousId="a1"))
    assert counted == [2, 2]


async def test_a_link_of_an_event_that_was_refused_is_handed_on_again(web, counted):
    for number in range(2):
        await web.batch(seen(number, userId="NA", anonymousId="a1"))
    await web.served.client.put("/api/v1/identity/rules", json={"allowedValues": ["NA"]})
    await web.batch(seen(3, userId="NA", anonymousId="a1"))
    assert counted[-1] == 2
    links = await web.served.section("identities", "NA")
    assert [link["value"] for link in links] == ["a1"]


def test_the_links_that_were_noted_longest_ago_are_forgotten(monkeypatch):
    monkeypatch.setattr(known_links, "MAX_LINKS", 3)
    known = KnownLinks(lambda: 0.0)
    known.note("abc")
    known.note("ad")
    assert [link in known for link in "abcd"] == [True, False, True, True]
