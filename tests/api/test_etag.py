"""ETags: weak, made of the content, and equal whenever the content is equal."""

import itertools
from hashlib import blake2b

import pytest

from contract.given import NAMES, RECORDS
from harness import START, service
from portrait.model import time

SEGMENT = RECORDS["segments"]


async def etag(running, customer_id="c1", sections=None, **options):
    return (await running.profile(customer_id, sections, **options)).headers["etag"]


@pytest.fixture
async def filled(extended):
    for name, record in RECORDS.items():
        await extended.recorded(name, record)
    return extended


async def test_the_etag_is_weak_and_the_same_while_the_content_is(filled):
    first = await etag(filled, sections=",".join(NAMES))
    assert first.startswith('W/"')
    filled.clock.advance(86_400)
    await filled.recorded("segments", SEGMENT)
    assert await etag(filled, sections=",".join(NAMES)) == first


@pytest.mark.parametrize("section", NAMES)
async def test_the_etag_changes_with_the_content_shown_and_only_with_it(running, section):
    for name, record in RECORDS.items():
        await running.recorded(name, record)
    before = {name: await etag(running, sections=name) for name in NAMES} | {"": await etag(running)}
    (listed_record,) = (await running.listed(section))["data"]
    assert (await running.client.delete(f"/api/v1/customers/c1/{section}/{listed_record['key']}")).status_code == 204
    for name in NAMES:
        assert (await etag(running, sections=name) == before[name]) == (name != section)
    assert await etag(running) != before[""]


async def test_the_same_content_again_is_the_same_etag(running):
    await running.recorded("segments", SEGMENT)
    before = await etag(running)
    await running.recorded("segments", {**SEGMENT, "segmentName": "Other"})
    assert await etag(running) != before
    await running.recorded("segments", SEGMENT)
    assert await etag(running) == before


async def test_every_selection_order_and_customer_has_an_etag_of_its_own(filled):
    await filled.recorded("segments", SEGMENT, "c2")
    for name, record in RECORDS.items():
        await filled.recorded(name, record, "c2")
    selections = [",".join(names) for size in (1, 2) for names in itertools.permutations(NAMES, size)]
    etags = [await etag(filled, name, selection) for name in ("c1", "c2") for selection in selections]
    assert len(set(etags)) == len(etags)
    assert await etag(filled, sections=" segments,segments, consent") == await etag(filled, sections="segments,consent")


async def test_empty_sections_count_too(running):
    await running.recorded("segments", SEGMENT)
    assert await etag(running, sections="journeys") != await etag(running, sections="consent")
    assert await etag(running, sections="segments,journeys") != await etag(running, sections="segments")


async def test_a_rebuild_leaves_every_etag_as_it_was(running):
    for number in range(25):
        at = f"2026-05-{number + 1:02}T00:00:00Z"
        await running.recorded("interactions", {**RECORDS["interactions"], "id": f"e{number}", "timestamp": at})
    for name, record in RECORDS.items():
        await running.recorded(name, record)
    running.clock.advance(1)
    before = [await etag(running, sections=name) for name in (None, *NAMES)]
    running.services.store._connection.execute("DELETE FROM documents")
    assert (await running.profile()).status_code == 404
    await running.services.upkeep.rebuild()
    assert [await etag(running, sections=name) for name in (None, *NAMES)] == before


async def test_a_rebuild_after_the_clock_was_set_back_leaves_every_etag_as_it_was(running):
    for name, record in RECORDS.items():
        await running.recorded(name, record)
    before = [await etag(running, sections=name) for name in NAMES]
    running.clock.advance(-3600)
    await running.checked()
    await running.services.upkeep.rebuild()
    assert [await etag(running, sections=name) for name in NAMES] == before


async def test_an_answer_with_a_computed_section_has_no_etag_and_is_never_304(filled):
    for sections in (None, "loyalty", "segments,loyalty"):
        answer = await filled.profile(sections=sections, headers={"If-None-Match": "*"})
        assert answer.status_code == 200
        assert "etag" not in answer.headers


async def test_time_alone_changes_the_etag(running):
    await running.recorded("segments", SEGMENT)
    at = time.rfc3339(START + 60 * time.SECOND)
    await running.recorded("segments", {"record": {**SEGMENT, "segmentName": "Later"}, "effectiveAt": at})
    before = await etag(running)
    running.clock.advance(60)
    after = await etag(running)
    assert after != before
    await running.services.upkeep.refresh()
    assert await etag(running) == after


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ("{etag}", 304), ("{strong}", 304), ("*", 304), (" * ", 304), ('"x", {etag}', 304), ('{etag},"x"', 304),
        ('W/"x",{strong},W/"y"', 304), ("", 200), ('"x"', 200), ('W/"x"', 200), ("{bare}", 200), ('W/"x", "y"', 200),
    ],
)  # fmt: skip
async def test_if_none_match_takes_lists_and_a_star_and_compares_weakly(running, known, status):
    await running.recorded("segments", SEGMENT)
    weak = await etag(running)
    strong = weak.removeprefix("W/")
    value = known.format(etag=weak, strong=strong, bare=strong.strip('"'))
    answer = await running.profile(headers={"If-None-Match": value})
    assert answer.status_code == status
    assert answer.headers["etag"] == weak
    assert (answer.content == b"") == (status == 304)
    assert answer.headers["vary"] == "X-Tenant-Id, Authorization, X-API-Key"


async def test_an_unknown_customer_is_404_whatever_if_none_match_says(running):
    answer = await running.profile("nobody", headers={"If-None-Match": "*"})
    assert answer.status_code == 404
    assert "etag" not in answer.headers


async def test_two_services_over_one_database_give_the_same_etag(running, tmp_path):
    await running.recorded("segments", SEGMENT)
    async with service(tmp_path, tenants=()) as other:
        other.client.headers["X-Tenant-Id"] = "my-tenant"
        assert await etag(other) == await etag(running)


async def test_a_304_reads_no_bodies_unless_time_overtook_the_document(running):
    await running.recorded("segments", SEGMENT)
    later = {"record": {**SEGMENT, "segmentName": "Later"}, "effectiveAt": "2026-06-02T00:00:00Z"}
    await running.recorded("segments", later)
    store, read = running.services.store, []
    documents = store.documents

    async def noted(*asked):
        read.append(asked)
        return await documents(*asked)

    store.documents = noted
    known = {"if-none-match": await etag(running)}
    assert len(read) == 1
    assert (await running.profile(headers=known)).status_code == 304
    assert (await running.profile("c2", headers=known)).status_code == 404
    assert len(read) == 2  # the unknown customer's
    running.clock.advance(86_400)
    answer = await running.profile(headers=known)
    assert (answer.status_code, answer.headers["etag"] != known["if-none-match"]) == (200, True)
    assert (await running.profile(headers={"if-none-match": answer.headers["etag"]})).status_code == 304
    assert len(read) == 4  # time has overtaken the document: it is rendered for each, until the background writes it
    await running.services.upkeep.refresh()
    assert (await running.profile(headers={"if-none-match": answer.headers["etag"]})).status_code == 304
    assert len(read) == 4


async def test_an_etag_is_keyed_by_its_tenant(running):
    """Without the tenant's secret, a reader of an ETag cannot check a guess of the contents."""
    await running.services.access.create_tenant("other")
    tags = {}
    for tenant in ("my-tenant", "other"):
        headers = {"X-Tenant-Id": tenant}
        await running.recorded("segments", SEGMENT, headers=headers)
        tags[tenant] = await etag(running, sections="segments", headers=headers)
    assert len(set(tags.values())) == 2
    reader = running.services.reader
    _, contents = await reader.unchanged("my-tenant", "c1", reader.plan("admin", ["segments"]))
    assert blake2b(contents, digest_size=16).hexdigest() not in tags["my-tenant"]
    assert blake2b(contents, digest_size=16, person=b"etag").hexdigest() not in tags["my-tenant"]


async def test_an_unmerge_gives_back_every_etag_as_it_was(running):
    for customer_id in ("c1", "c2"):
        for name, record in RECORDS.items():
            own = {"value": f"{customer_id}@example.org"} if name == "identities" else {}
            await running.recorded(name, {**record, **own}, customer_id)
    before = [await etag(running, customer_id) for customer_id in ("c1", "c2")]
    await running.services.identities.merge("my-tenant", "c1", "c2", None)
    assert await etag(running, "c1") not in before
    await running.services.identities.unmerge("my-tenant", "c1", "c2", None)
    assert [await etag(running, customer_id) for customer_id in ("c1", "c2")] == before
