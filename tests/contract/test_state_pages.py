"""Pages of a state section during writes: a record that is live from the first page to the last is seen once."""

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
    st.tuples(st.just("record"), people, keys),
    st.tuples(st.just("delete"), people, keys),
    st.tuples(st.just("merge"), people),
    st.tuples(st.just("unmerge"), people),
)


class Pair:
    """Two customers, merged or not, that no other example uses."""

    def __init__(self, running, number):
        self._running = running
        self.names = {name: f"{number}{name}" for name in (A, B)}

    async def change(self, kind, who, key=None):
        name = self.names[who]
        if kind == "record":
            record = {**RECORDS["segments"], "segmentId": key, "segmentName": str(self._running.clock())}
            await self._running.recorded("segments", record, name)
        elif kind == "delete":
            await self._running.client.delete(f"/api/v1/customers/{name}/segments/{key}")
        elif kind == "merge":
            await merge(self._running, name, self.names[A if who == B else B])
        else:
            other = self.names[A if who == B else B]
            with suppress(NotMerged):
                await self._running.services.identities.unmerge(TENANT, name, other, None)

    async def live(self):
        """Return the keys that the profile shows."""
        return {segment["segmentId"] for segment in await self._running.section("segments", self.names[A])}

    async def page(self, limit, cursor):
        params = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        page = await self._running.listed("segments", self.names[A], **params)
        assert len(page["data"]) <= limit
        return [listed_record["key"] for listed_record in page["data"]], page["pagination"]["cursor"]


numbers = iter(range(1_000_000))


@row("GET /api/v1/customers/{customerId}/{section}")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    recorded=st.lists(st.tuples(people, keys), min_size=3, max_size=10),
    between=st.lists(st.lists(CHANGES, max_size=3), min_size=1, max_size=8),
    limit=st.integers(1, 3),
)
def test_a_record_live_from_the_first_page_to_the_last_is_seen_once(opened, recorded, between, limit):
    async def work(running):
        pair = Pair(running, next(numbers))
        for who in (A, B):
            await pair.change("record", who, KEYS[0])
        for who, key in recorded:
            await pair.change("record", who, key)
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
