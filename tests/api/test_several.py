"""Several profiles in one request: reading, computing and answering are bounded, and each profile costs once."""

import asyncio

import pytest

from harness import service
from portrait.reads import several

PATH = "/api/v1/unified-profile"
SEGMENT = {"segmentId": "s1", "segmentName": "x" * 1000, "memberSince": "2026-01-15T00:00:00Z"}
NAMES = [f"c{number:03}" for number in range(100)]
DEADLINE = 1.0
PLUGIN = """
import asyncio, threading, time
from portrait import register_profile_section

running, most = 0, 0

@register_profile_section("hangs", timeout={deadline})
async def hangs(ctx):
    with open({calls!r}, "a") as calls:
        calls.write(ctx.customer_id + " ")
    await asyncio.sleep(0 if ctx.customer_id > "c050" else 30)
    return [1]

@register_profile_section("slow", timeout=60)
async def slow(ctx):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.01)
    running -= 1
    return [most, ctx.customer_id]

@register_profile_section("wide", timeout=60)
def wide(ctx):
    return ["x" * 1000]
"""


@pytest.fixture
async def filled(tmp_path):
    """A hundred customers, of somewhat more than 1,000 bytes each, and the ids that the store is asked for."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN.format(deadline=DEADLINE, calls=str(tmp_path / "calls")))
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        lines = [{"customerId": name, "section": "segments", "record": SEGMENT} for name in NAMES]
        answer = await running.client.post("/api/v1/records", json=lines)
        assert answer.json()["recorded"] == 100
        store, running.read = running.services.store, []
        documents = store.documents

        async def noted(*asked):
            running.read.append(asked[1])
            return await documents(*asked)

        store.documents = noted
        yield running


async def ask(running, names, *sections):
    answer = await running.client.post(PATH, json=[{"customerId": name, "sections": list(sections)} for name in names])
    assert answer.status_code == 200
    return answer


def size_of(answer):
    """Return how many bytes the profile has in an answer of one profile."""
    return len(answer.content) - len(b'{"data":[{"status":200,"profile":}]}')


async def test_a_customer_named_often_is_read_once(filled):
    answer = await ask(filled, ["c001"] * 100, "segments")
    assert [result["profile"]["customerId"] for result in answer.json()["data"]] == ["c001"] * 100
    assert filled.read == ["c001"]
    filled.read.clear()
    identifier = {"type": "customer_id", "value": "c001"}
    named = [{"customerId": "c001"}, {"identifier": identifier}, {"customerId": "c001", "sections": ["segments"]}]
    answer = await filled.client.post(PATH, json=named * 10)
    assert {result["status"] for result in answer.json()["data"]} == {200}
    assert filled.read == ["c001", "c001"], "once for each selection of sections"


@pytest.mark.parametrize("sections", [["segments"], ["segments", "wide"], ["wide"]])
@pytest.mark.parametrize("names", [NAMES, ["c001"] * 100])
async def test_profiles_beyond_the_answers_room_are_413(filled, monkeypatch, sections, names):
    each = size_of(await ask(filled, ["c001"], *sections))
    for room in (1, 3, 40):
        monkeypatch.setattr(several, "MAX_ANSWER_BYTES", room * each + 10)
        answer = await ask(filled, names, *sections)
        data = answer.json()["data"]
        assert [result["status"] for result in data] == [200] * room + [413] * (100 - room)
        assert [result["profile"]["customerId"] for result in data[:room]] == names[:room]
        for result in data[room:]:
            assert result.keys() == {"status", "problem"}
            assert (result["problem"]["code"], result["problem"]["status"]) == ("answer_too_large", 413)
            assert "Request this profile separately" in result["problem"]["detail"]
    whole = (await ask(filled, [names[-1]], *sections)).json()["data"]
    assert whole[0]["status"] == 200, "what was left out can be asked for"


async def test_no_more_is_read_than_the_answer_has_room_for(filled, monkeypatch):
    each = size_of(await ask(filled, ["c001"], "segments"))
    for room in (1, 3, 40):
        filled.read.clear()
        monkeypatch.setattr(several, "MAX_ANSWER_BYTES", room * each + 10)
        await ask(filled, NAMES, "segments")
        assert filled.read == NAMES[: len(filled.read)]
        assert room < len(filled.read) <= room + several.LOADED_AT_ONCE


async def test_refused_profiles_take_no_room_in_the_answer(filled, monkeypatch):
    each = size_of(await ask(filled, ["c001"], "segments"))
    monkeypatch.setattr(several, "MAX_ANSWER_BYTES", 2 * each + 10)
    data = (await ask(filled, ["nobody", "c001", "nobody", "c002", "nobody", "c003", "nobody"], "segments")).json()[
        "data"
    ]
    assert [result["status"] for result in data] == [404, 200, 404, 200, 404, 413, 404]


async def test_a_section_that_hangs_costs_one_deadline_for_all_profiles(filled, tmp_path):
    began = asyncio.get_running_loop().time()
    data = (await ask(filled, NAMES, "segments", "hangs")).json()["data"]
    took = asyncio.get_running_loop().time() - began
    assert DEADLINE <= took < 5 * DEADLINE, "100 deadlines one after another would be 100"
    assert (tmp_path / "calls").read_text().split() == NAMES[: several.COMPUTED_AT_ONCE], "none begins after it"
    parts = [result["profile"]["sections"] for result in data]
    assert all(segments["data"] == [SEGMENT] for segments, _ in parts)
    assert {hangs["error"]["code"] for _, hangs in parts if hangs["data"] == []} == {"deadline_exceeded"}


async def test_profiles_are_computed_beside_each_other_but_not_all_at_once(filled):
    data = (await ask(filled, NAMES, "slow")).json()["data"]
    computed = [result["profile"]["sections"][0]["data"] for result in data]
    assert [name for _, name in computed] == NAMES
    assert 1 < max(most for most, _ in computed) <= several.COMPUTED_AT_ONCE


async def test_others_have_their_turn_while_profiles_are_read(filled):
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    ticking = asyncio.create_task(others())
    plan = filled.services.reader.plan("admin", ["segments"])
    results = await several.profiles(
        filled.services.reader, "my-tenant", [several.ProfileAsked(n, plan) for n in NAMES], 2**30
    )
    ticking.cancel()
    assert len(results) == 100
    assert turns >= 100 // several.LOADED_AT_ONCE
