"""Pages of a state section while somebody writes: whoever is live from the first page to the last is seen once."""

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.given import RECORDS, merge, row
from harness import TENANT
from portrait.model.errors import NotMerged

KEYS = [f"s{number}" for number in range(8)]
A, B = "a", "b"
keys = st.sampled_from(KEYS)
people = st.sampled_from([A, B])
CHANGES = st.one_of(
    st.tuples(st.just("tell"), people, keys),
    st.tuples(st.just("end"), people, keys),
    st.tuples(st.just("merge"), people),
    st.tuples(st.just("unmerge"), people),
)


class Pair:
    """Two customers of their own, who may be one or not."""

    def __init__(self, running, number):
        self._running = running
        self.names = {name: f"{number}{name}" for name in (A, B)}

    async def change(self, kind, who, key=None):
        name = self.names[who]
        if kind == "tell":
            record = {**RECORDS["segments"], "segmentId": key, "segmentName": str(self._running.clock())}
            await self._running.told("segments", record, name)
        elif kind == "end":
            await self._running.client.delete(f"/api/v1/customers/{name}/segments/{key}")
        elif kind == "merge":
            await merge(self._running, name, self.names[A if who == B else B])
        else:
            other = self.names[A if who == B else B]
            with suppress(NotMerged):
                await self._running.services.identities.unmerge(TENANT, name, other, None)

    async def live(self):
        """Return the keys that the profile shows."""
        return {one["segmentId"] for one in await self._running.section("segments", self.names[A])}

    async def page(self, limit, cursor):
        params = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        found = await self._running.listed("segments", self.names[A], **params)
        assert len(found["data"]) <= limit
        return [one["key"] for one in found["data"]], found["pagination"]["cursor"]


numbers = iter(range(1_000_000))


@row("GET /api/v1/customers/{customerId}/{section}")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=st.lists(st.tuples(people, keys), min_size=3, max_size=10),
    between=st.lists(st.lists(CHANGES, max_size=3), min_size=1, max_size=8),
    limit=st.integers(1, 3),
)
def test_whoever_is_live_from_the_first_page_to_the_last_is_seen_once(opened, told, between, limit):
    async def work(running):
        pair = Pair(running, next(numbers))
        for who in (A, B):
            await pair.change("tell", who, KEYS[0])
        for who, key in told:
            await pair.change("tell", who, key)
        changes = iter(between)
        seen, cursor = await pair.page(limit, None)
        throughout = ever = await pair.live()
        while cursor is not None:
            for change in next(changes, []):
                await pair.change(*change)
                live = await pair.live()
                throughout, ever = throughout & live, ever | live
            keys, cursor = await pair.page(limit, cursor)
            seen += keys
        assert len(seen) == len(set(seen)), "seen twice"
        assert throughout <= set(seen) <= ever

    opened(work)
