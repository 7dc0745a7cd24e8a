"""After any writes in any order, derived rows are what the facts say."""

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness import START, ndjson, service
from portrait.model.time import rfc3339
from sections.facts import MINUTE, PLUGINS, REGISTRY, records, statements_of

EXAMPLES = tuple(str(PLUGINS / name) for name in ("reviews.py", "lifetime_value.py"))
STORED = [section.name for section in REGISTRY.all_stored()]
CUSTOMERS = st.sampled_from(["c1", "c2", "c3"])
slow = settings(
    max_examples=50,
    deadline=None,
    # Shrinking would take minutes; a failing example is short enough to read.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@asynccontextmanager
async def running():
    with tempfile.TemporaryDirectory() as directory:
        async with service(Path(directory), plugins=EXAMPLES) as opened:
            yield opened


async def portraits(opened):
    """Return every customer's profile, without its moment, with its ETag."""
    by_customer = {}
    for customer_id in ("c1", "c2", "c3"):
        answer = await opened.profile(customer_id)
        by_customer[customer_id] = (
            answer.status_code,
            answer.headers.get("etag"),
            answer.text.partition(',"computedAt"')[0] if answer.status_code == 200 else None,
        )
    return by_customer


def lines(section):
    """Records of a section in envelopes, some with a moment of their own up to two hours behind or ahead."""
    at = st.none() | st.integers(-120, 120).map(lambda minutes: rfc3339(START + minutes * MINUTE))
    return st.builds(
        lambda record, when: {"record": record} | ({} if when is None else {"effectiveAt": when}), records(section), at
    )


of_a_section = st.sampled_from(STORED).flatmap(
    lambda name: st.tuples(st.just(name), st.lists(lines(REGISTRY.stored(name)), min_size=1, max_size=3))
)
steps = st.one_of(
    st.tuples(st.just("record"), CUSTOMERS, of_a_section),
    st.tuples(st.just("record"), CUSTOMERS, of_a_section),
    st.tuples(st.just("bulk"), st.lists(st.tuples(CUSTOMERS, of_a_section), min_size=1, max_size=4)),
    st.tuples(st.just("delete"), CUSTOMERS, st.sampled_from(STORED), st.integers(0, 3)),
    st.tuples(st.just("advance"), st.integers(1, 90)),
    st.tuples(st.just("refresh")),
)


async def record(opened, customer_id, batch):
    name, envelopes = batch
    answer = await opened.record(name, envelopes, customer_id)
    assert answer.status_code == 201 or answer.json()["code"] == "event_conflict", answer.text


async def bulk(opened, batches):
    sent = [
        {"customerId": customer_id, "section": name, **envelope}
        for customer_id, (name, envelopes) in batches
        for envelope in envelopes
    ]
    answer = await opened.client.post(
        "/api/v1/records", content=ndjson(sent), headers={"content-type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, answer.text
    outcome = answer.json()
    assert {refusal["code"] for refusal in outcome["refused"]} <= {"event_conflict"}
    assert outcome["recorded"] + outcome["duplicates"] + len(outcome["refused"]) == len(sent)


async def delete(opened, customer_id, name, index):
    path = f"/api/v1/customers/{customer_id}/{name}"
    listed = await opened.client.get(path)
    if listed.status_code == 404 or not (keys := [stored_record["key"] for stored_record in listed.json()["data"]]):
        return
    key = keys[index % len(keys)]
    assert (await opened.client.delete(f"{path}/{key}")).status_code == 204
    assert key not in [
        stored_record["key"] for stored_record in (await opened.listed(name, customer_id, limit=100))["data"]
    ]


async def advance(opened, minutes):
    opened.clock.advance(minutes * 60)


async def refresh(opened):
    await opened.services.upkeep.refresh()


@slow
@given(st.lists(steps, max_size=20))
def test_documents_equal_a_rebuild_after_any_sequence_of_writes(sequence):
    work = {"record": record, "bulk": bulk, "delete": delete, "advance": advance, "refresh": refresh}

    async def scenario():
        async with running() as opened:
            for name, *words in sequence:
                await work[name](opened, *words)
                opened.clock.advance(1)
            await opened.checked()
            before = await portraits(opened)
            assert (await opened.services.upkeep.rebuild()).differences == []
            assert await portraits(opened) == before
            await opened.checked()

    asyncio.run(scenario())


statement_lists = st.sampled_from(STORED).flatmap(
    lambda name: statements_of(REGISTRY.stored(name), size=6, deletes=False).map(
        # Of customers that claim one identifier, the first owns it: that depends on the order, and is meant to.
        lambda statements: [
            (name, statement)
            for statement in statements
            if (name != "identities" or statement.customer_id == statements[0].customer_id)
            # A withdrawal ends the grants that lie ahead when it is recorded, and none that are recorded later.
            and (name != "consent" or statement.effective_at <= START)
        ]
    )
)


@settings(slow, max_examples=25)
@given(st.data())
def test_any_order_of_arrival_and_any_repetition_give_the_same_profile_bytes(data):
    by_section = {name: part for part in data.draw(st.lists(statement_lists, max_size=4)) for name, _ in part}
    pairs = [pair for part in by_section.values() for pair in part]
    again = data.draw(st.lists(st.sampled_from(pairs), max_size=5)) if pairs else []
    order = data.draw(st.permutations([*pairs, *again]))

    async def portraits_after(sequence):
        async with running() as opened:
            for name, statement in sequence:
                body = {"record": statement.record, "effectiveAt": rfc3339(statement.effective_at)}
                await opened.recorded(name, body, statement.customer_id)
            opened.clock.now = START + 60 * MINUTE
            return await portraits(opened)

    # An ETag is keyed by a secret of the tenant's, and each of the two services has a tenant of its own.
    first, second = (
        {name: (answer[0], answer[2]) for name, answer in asyncio.run(portraits_after(sequence)).items()}
        for sequence in (pairs, order)
    )
    assert first == second


async def test_a_state_may_hold_more_than_can_still_count_and_is_no_difference(tmp_path):
    """How many superseded records a state still holds depends on the order of recording; its document does not."""
    segment = {"segmentName": "s", "memberSince": "2026-01-15T00:00:00Z"}
    async with service(tmp_path) as opened:
        await opened.recorded("segments", {"record": {**segment, "segmentId": "a"}})
        later = {**segment, "segmentId": "a", "segmentName": "later"}
        await opened.recorded("segments", {"record": later, "effectiveAt": "2026-06-01T12:10:00Z"})
        opened.clock.advance(20 * 60)
        await opened.recorded(
            "segments", {"record": {**segment, "segmentId": "b"}, "effectiveAt": "2026-02-01T00:00:00Z"}
        )
        await opened.checked()
