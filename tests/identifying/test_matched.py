"""Matches that are suggested and forgotten: every document is again as it was before."""

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness import TENANT, service
from identifying.acting import FREE, SEGMENT, act, bulk, line, owner, rules, stored_state, tie, visible_documents
from portrait.writes.match_links import Suggested

CUSTOMERS = [f"c{number}" for number in range(5)]
SHARED = ["email:e@example.org", "phone:+4930901820", "device_id:d", "email:f@example.org", "anonymous_id:n"]
RULES = [{}, FREE, {"maxIdentifiers": 4, "types": {type_: {"limit": 2} for type_ in ("email", "phone")} | {
    type_: {"weak": True, "limit": 2} for type_ in ("device_id", "cookie_id", "anonymous_id")}}]  # fmt: skip
ends = st.sampled_from([*CUSTOMERS, *SHARED])
sources = st.sampled_from(["crm", "web"])
evidence = st.builds(
    lambda a, b, confidence, source: tie(a, b, confidence, source=source),
    ends, ends, st.sampled_from([0.3, 0.8, 1.0]), sources,
)  # fmt: skip
records = st.builds(
    lambda end, name: line(end, "segments", {**SEGMENT, "segmentId": name}), ends, st.sampled_from("xyz")
)
pairs = st.builds(
    lambda customer_ids, probability: Suggested(*customer_ids, probability, links=probability > 0.9),
    st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(CUSTOMERS)).filter(
        lambda customer_ids: customer_ids[0] != customer_ids[1]
    ),
    st.sampled_from([0.6, 0.92, 0.97]),
)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(
    lines=st.lists(evidence | records, max_size=15),
    suggestions=st.lists(pairs, min_size=1, max_size=6),
    made=st.sampled_from(RULES),
)
def test_forgetting_matches_restores_every_document_and_owner(lines, suggestions, made, tmp_path_factory):
    async def run():
        async with service(tmp_path_factory.mktemp("matched")) as running:
            await rules(running, made)
            await running.client.post("/api/v1/records", json=[
                *(line(customer_id, "segments", SEGMENT) for customer_id in CUSTOMERS), *lines])  # fmt: skip
            matches = running.services.matches
            before, (_, owners, _) = await visible_documents(running), await stored_state(running)
            counted = await matches.suggest(TENANT, suggestions, "spring")
            assert sum(counted.values()) == len(suggestions)
            joined, facts = await visible_documents(running), (await stored_state(running))[2]
            await matches.suggest(TENANT, suggestions, "spring")
            once_more = (await stored_state(running))[2]
            if (
                len({suggestion[:2] for suggestion in suggestions})
                == len({frozenset(suggestion[:2]) for suggestion in suggestions})
                == len(suggestions)
            ):
                assert once_more == facts, "told again it is no news"
            assert await visible_documents(running) == joined
            await running.checked()
            await matches.forget(TENANT, "spring")
            assert await visible_documents(running) == before
            assert (await stored_state(running))[1] == owners
            assert await matches.forget(TENANT, "spring") == 0
            await running.checked()

    asyncio.run(run())


@pytest.mark.parametrize("engine", ["sqlite", "postgres_url", "citus_url"])
async def test_matches_are_suggested_and_forgotten_on_every_engine(engine, request, tmp_path):
    database = None if engine == "sqlite" else await asyncio.to_thread(request.getfixturevalue, engine)
    async with service(tmp_path, database=database) as running:
        await bulk(running, *(tie(customer_id, SHARED[0], 0.9, source="crm") for customer_id in CUSTOMERS))
        before = await visible_documents(running)
        suggestions = [Suggested(a, b, 0.97, links=True) for a, b in itertools.pairwise(CUSTOMERS)]
        matches = running.services.matches
        assert await matches.suggest(TENANT, suggestions, "spring") == {"linked": 4}
        assert {await owner(running, customer_id) for customer_id in CUSTOMERS} == {"c0"}
        rows = [row async for row in matches.attributes(TENANT, [], "spring")]
        assert sorted(row["id"] for row in rows) == CUSTOMERS, "as though the source had not spoken"
        assert [row["id"] async for row in matches.attributes(TENANT, [], "other")] == ["c0"]
        assert await matches.forget(TENANT, "spring") == 4
        assert await visible_documents(running) == before
        await running.checked()


async def test_matched_customers_stay_one_where_a_person_merged_them_too(running):
    await bulk(running, *(line(customer_id, "segments", SEGMENT) for customer_id in CUSTOMERS))
    matches = running.services.matches
    suggestions = [Suggested("c0", "c1", 0.97, links=True), Suggested("c2", "c3", 0.97, links=True)]
    assert await matches.suggest(TENANT, suggestions, "spring") == {"linked": 2}
    for _ in range(2):
        await act(running, "merge", targetId="c0", sourceId="c1")
    facts = (await stored_state(running))[2]
    await act(running, "merge", targetId="c1", sourceId="c0")
    assert (await stored_state(running))[2] == facts, "said once is said"
    assert await matches.forget(TENANT, "spring") == 2
    assert [await owner(running, customer_id) for customer_id in CUSTOMERS[:4]] == ["c0", "c0", "c2", "c3"]
    await running.checked()
    await act(running, "unmerge", targetId="c0", sourceId="c1")
    assert [await owner(running, customer_id) for customer_id in CUSTOMERS[:2]] == ["c0", "c1"]
    await running.checked()


async def test_matches_make_no_profile_larger_than_the_cap(running):
    await rules(running, {"maxIdentifiers": 4})
    await bulk(running, *(tie(customer_id, f"email:{customer_id}@example.org") for customer_id in CUSTOMERS[:3]))
    suggestions = [Suggested(a, b, 0.97, links=True) for a, b in itertools.pairwise(CUSTOMERS[:3])]
    counted = await running.services.matches.suggest(TENANT, suggestions, "spring")
    assert counted == {"linked": 1, "component_cap": 1}
    assert {await owner(running, customer_id) for customer_id in CUSTOMERS[:3]} == {"c0", "c2"}
    await running.checked()
