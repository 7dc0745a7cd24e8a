"""Events of one id with different bodies, at two identifiers of one person: the first recorded shows."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.given import merge
from harness import START, TENANT, interaction, service
from portrait.model import time
from sections.facts import MINUTE

numbers = count()


@pytest.fixture
async def anywhere(any_engine):
    async with service(None, database=any_engine) as running:
        yield running


def event(id_, minutes, **more):
    return interaction(0, time.rfc3339(START + minutes * MINUTE)) | {"id": id_, **more}


async def joined(running, first, second):
    """Record events of two customers, and merge them."""
    for name, events in (("a", first), ("b", second)):
        await running.recorded("interactions", events, name)
    await merge(running, "b", "a")


async def visible_events(running, name="a"):
    return [(event["id"], event.get("properties")) for event in await running.section("interactions", name)]


async def listed(running, name="a"):
    data = (await running.listed("interactions", name))["data"]
    return [(stored_record["key"], stored_record["record"].get("properties")) for stored_record in data]


FIRST, SECOND = event("e", -5, from_="a"), event("e", -3, from_="b")


async def test_the_first_recorded_event_of_an_id_shows_and_the_other_stays_in_history(anywhere):
    await joined(anywhere, FIRST, SECOND)
    assert await visible_events(anywhere) == await listed(anywhere) == [("e", {"from_": "a"})]
    path = "/api/v1/customers/a/interactions/e/history"
    history = (await anywhere.client.get(path)).json()["data"]
    assert [fact["record"]["properties"]["from_"] for fact in history] == ["b", "a"]
    await anywhere.checked()
    await anywhere.services.upkeep.rebuild()
    assert await visible_events(anywhere) == [("e", {"from_": "a"})]


async def test_a_delete_ends_the_visible_event_and_the_other_returns_at_unmerge(anywhere):
    await joined(anywhere, FIRST, SECOND)
    path = "/api/v1/customers/a/interactions/e"
    assert (await anywhere.client.delete(path)).status_code == 204
    assert await visible_events(anywhere) == await listed(anywhere) == []
    assert (await anywhere.client.delete(path)).status_code == 404
    await anywhere.checked()
    await anywhere.services.identities.unmerge(TENANT, "a", "b", None)
    assert await visible_events(anywhere, "a") == []
    assert await visible_events(anywhere, "b") == [("e", {"from_": "b"})]
    await anywhere.checked()


async def test_a_delete_ends_all_equal_events_of_an_id(anywhere):
    await joined(anywhere, FIRST, FIRST)
    assert await visible_events(anywhere) == [("e", {"from_": "a"})]
    assert (await anywhere.client.delete("/api/v1/customers/a/interactions/e")).status_code == 204
    await anywhere.services.identities.unmerge(TENANT, "a", "b", None)
    assert await visible_events(anywhere, "b") == []


async def test_an_event_of_a_used_id_recorded_after_the_merge_does_not_show(anywhere):
    await joined(anywhere, FIRST, event("other", -1))
    await anywhere.recorded("segments", {"segmentId": "s", "segmentName": "s", "memberSince": FIRST["timestamp"]}, "b")
    line = {"identifier": {"type": "customer_id", "value": "b"}, "section": "interactions", "record": SECOND}
    assert (await anywhere.client.post("/api/v1/records", json=[line])).json()["recorded"] == 1
    assert await visible_events(anywhere) == [("other", None), ("e", {"from_": "a"})]
    await anywhere.recorded("interactions", event("new", 0), "a")
    assert await visible_events(anywhere) == [("new", None), ("other", None), ("e", {"from_": "a"})]
    await anywhere.checked()


async def test_an_event_of_a_used_id_to_come_does_not_show(anywhere):
    await joined(anywhere, FIRST, event("e", 10, from_="b"))
    anywhere.clock.advance(3600)
    assert await visible_events(anywhere) == [("e", {"from_": "a"})]
    await anywhere.services.upkeep.refresh()
    await anywhere.checked()


async def test_a_window_is_full_though_one_history_repeats_every_id_of_the_other(running):
    """Each device counts its ids anew."""
    await joined(
        running,
        [event(f"e{n:02}", -200 + n, from_="a") for n in range(60)],
        [event(f"e{n:02}", -100 + n, from_="b") for n in range(60)] + [event("new", 0)],
    )
    expected = [("new", None), *((f"e{n:02}", {"from_": "a"}) for n in range(59, 40, -1))]
    assert await visible_events(running) == expected
    pages, cursor = [], None
    while True:
        page = await running.listed("interactions", "a", limit=7, **({} if cursor is None else {"cursor": cursor}))
        pages += [stored_record["key"] for stored_record in page["data"]]
        cursor = page["pagination"]["cursor"]
        if cursor is None:
            break
    assert pages == ["new", *(f"e{n:02}" for n in range(59, -1, -1))]
    await running.checked()


class Pair:
    """Two customers, one person or not, and what each of them must show."""

    def __init__(self, running):
        self._running = running
        self.names = {name: f"{name}{next(numbers)}" for name in "ab"}
        self.recorded = {"a": {}, "b": {}}
        """By id, when the event was recorded and with which body."""
        self.ended = {"a": set(), "b": set()}
        self.is_one = False

    async def do(self, kind, who="a", number=0, body=0):
        if kind == "tell" and not self.is_one:  # nothing is recorded under the id of a customer that was merged away
            record = event(f"e{number:02}", -number - 60 * body, body=body)
            if (await self._running.record("interactions", record, self.names[who])).status_code == 201:
                self.recorded[who].setdefault(number, (next(numbers), body))
        elif kind == "end":
            path = f"/api/v1/customers/{self.names[who]}/interactions/e{number:02}"
            if (await self._running.client.delete(path)).status_code == 204:
                for name in self.people(who):
                    if number in self.recorded[name] and self.recorded[name][number][1] == self.first(who, number):
                        self.ended[name].add(number)
        elif kind == "merge" and all(self.recorded.values()) and not self.is_one:
            await merge(self._running, self.names["b"], self.names["a"])
            self.is_one = True
        elif kind == "unmerge" and self.is_one:
            await self._running.services.identities.unmerge(TENANT, *self.names.values(), None)
            self.is_one = False

    def people(self, who):
        return "ab" if self.is_one else who

    def first(self, who, number):
        return min(self.recorded[name][number] for name in self.people(who) if number in self.recorded[name])[1]

    def due(self, who):
        """Return the events that have to show, by number and body, the newest first."""
        live = {
            (number, body)
            for name in self.people(who)
            for number, (_, body) in self.recorded[name].items()
            if number not in self.ended[name] and body == self.first(who, number)
        }
        return sorted(live, key=lambda pair: pair[0] + 60 * pair[1])[:20]

    async def holds(self):
        for who in "ab":
            if any(self.recorded[name] for name in self.people(who)):
                events = await visible_events(self._running, self.names[who])
                assert [(int(id_[1:]), more["body"]) for id_, more in events] == self.due(who)


who, ids = st.sampled_from("ab"), st.integers(0, 25)
TELLING = st.tuples(st.just("tell"), who, ids, st.integers(0, 1))
DEEDS = st.one_of(TELLING, st.tuples(st.just("end"), who, ids), st.tuples(st.sampled_from(["merge", "unmerge"])))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begun=st.lists(TELLING, max_size=50), deeds=st.lists(DEEDS, max_size=12))
def test_each_id_shows_once_as_first_recorded_after_any_sequence_of_writes(opened, begun, deeds):
    async def work(running):
        pair = Pair(running)
        for deed in (*begun, *deeds):
            await pair.do(*deed)
        await pair.holds()
        await running.checked()

    opened(work)
