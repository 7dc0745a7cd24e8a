"""Computed sections: each within its deadline whatever its function does, and the rest of the profile whole."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from harness import TENANT, service
from portrait.computed import kept, reports

HEADER = "import asyncio, time\nfrom portrait import register_profile_section\n"
SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
DEADLINE = 0.6
MARGIN = 0.3
SLEEPS = 1.0
HANGING = {
    "async that sleeps": f"async def slow(ctx):\n    await asyncio.sleep({SLEEPS})\n    return []\n",
    "async that blocks": f"async def slow(ctx):\n    time.sleep({SLEEPS})\n    return []\n",
    "plain that blocks": f"def slow(ctx):\n    time.sleep({SLEEPS})\n    return []\n",
}
BUILT_IN = ["identities", "interactions", "segments", "journeys", "experiments", "consent"]


@pytest.fixture
def plugged(tmp_path):
    """Return a function that opens a service with a plugin of this source, and one customer."""

    @asynccontextmanager
    async def opened(source, **options):
        plugin = tmp_path / "plugin.py"
        plugin.write_text(HEADER + source)
        async with service(tmp_path, plugins=(str(plugin),), **options) as running:
            for tenant in options.get("tenants", (TENANT,)):
                key = await running.key("editor", tenant)
                await running.recorded("segments", SEGMENT, headers={"X-API-Key": key, "X-Tenant-Id": tenant})
            yield running

    return opened


async def sections(running, names=None, customer_id="c1", **options):
    answer = await running.profile(customer_id, names, **options)
    assert answer.status_code == 200, answer.text
    return {section["name"]: section for section in answer.json()["sections"]}


def failed(code):
    return lambda part: part["data"] == [] and part["error"]["code"] == code and bool(part["error"]["detail"])


@pytest.mark.parametrize("source", HANGING.values(), ids=HANGING)
async def test_a_section_that_hangs_costs_its_deadline_and_no_more(plugged, source):
    source = (
        f'@register_profile_section("slow", timeout={DEADLINE})\n{source}\n'
        '@register_profile_section("quick")\nasync def quick(ctx):\n    return [1]\n'
    )
    async with plugged(source) as running:
        took = []
        for _ in range(5):
            started = time.perf_counter()
            by_name = await sections(running)
            took.append(time.perf_counter() - started)
            assert by_name["slow"] == {
                "name": "slow",
                "data": [],
                "error": {"code": "deadline_exceeded", "detail": by_name["slow"]["error"]["detail"]},
            }
            assert by_name["segments"] == {"name": "segments", "data": [SEGMENT]}
            assert by_name["quick"] == {"name": "quick", "data": [1]}
        assert DEADLINE <= min(took) < DEADLINE + MARGIN


@pytest.mark.parametrize("source", HANGING.values(), ids=HANGING)
async def test_a_section_that_hangs_holds_up_no_other_request(plugged, source):
    async with plugged(f'@register_profile_section("slow", timeout={DEADLINE})\n{source}') as running:
        hanging = asyncio.create_task(running.profile("c1"))
        await asyncio.sleep(DEADLINE / 3)
        took = []
        for _ in range(3):
            started = time.perf_counter()
            await sections(running, "segments")
            took.append(time.perf_counter() - started)
        assert min(took) < MARGIN
        assert (await hanging).status_code == 200


async def test_several_sections_run_beside_each_other(plugged):
    source = "".join(
        f'@register_profile_section("s{n}", timeout=1)\ndef s{n}(ctx):\n    time.sleep(0.2)\n    return [{n}]\n'
        for n in range(5)
    )
    async with plugged(source) as running:
        took = []
        for _ in range(3):
            started = time.perf_counter()
            by_name = await sections(running)
            took.append(time.perf_counter() - started)
            assert [by_name[f"s{n}"]["data"] for n in range(5)] == [[n] for n in range(5)]
        assert min(took) < 0.7


@pytest.mark.parametrize(
    "body",
    [
        'raise ValueError("john@example.com")',
        'raise SystemExit("john@example.com")',
        'raise TimeoutError("john@example.com")',
        "raise asyncio.CancelledError('john@example.com')",
        "return {'tier': 'john@example.com'}",
        "return None",
        "return 'john@example.com'",
        "return [object()]",
        "return [{1: {2: complex(1)}}]",
        "return ['\\ud800']",
        "loop = []; loop.append(loop); return loop",
    ],
)
@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_section_that_fails_says_so_without_the_exceptions_text(plugged, kind, body):
    async with plugged(f'@register_profile_section("broken", timeout=2)\n{kind} broken(ctx):\n    {body}\n') as running:
        answer = await running.profile("c1")
        assert answer.status_code == 200
        assert "john" not in answer.text
        by_name = {section["name"]: section for section in answer.json()["sections"]}
        assert by_name["broken"].keys() == {"name", "data", "error"}
        assert by_name["broken"]["data"] == []
        assert by_name["broken"]["error"].keys() == {"code", "detail"}
        assert by_name["broken"]["error"]["code"] == "section_failed"
        assert by_name["segments"]["data"] == [SEGMENT]


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_an_answer_is_kept_for_its_time_per_tenant_and_customer(plugged, kind):
    source = (
        "calls = []\n@register_profile_section('counted', cache_seconds=0.4)\n"
        f"{kind} counted(ctx):\n    calls.append(1)\n    return [len(calls), ctx.tenant_id, ctx.customer_id]\n"
    )
    async with plugged(source, tenants=(TENANT, "other")) as running:
        await running.recorded("segments", SEGMENT, "c2")

        async def counted(customer_id="c1", tenant=TENANT):
            by_name = await sections(running, "counted", customer_id, headers={"X-Tenant-Id": tenant})
            return by_name["counted"]["data"]

        assert await counted() == await counted() == [1, TENANT, "c1"]
        assert await counted("c2") == [2, TENANT, "c2"]
        assert await counted(tenant="other") == [3, "other", "c1"]
        assert await counted() == [1, TENANT, "c1"]
        await asyncio.sleep(0.45)
        assert await counted() == [4, TENANT, "c1"]


async def test_without_a_cache_time_every_request_calls(plugged):
    source = "calls = []\n@register_profile_section('n')\ndef n(ctx):\n    calls.append(1)\n    return [len(calls)]\n"
    async with plugged(source) as running:
        assert [(await sections(running))["n"]["data"] for _ in range(3)] == [[1], [2], [3]]


async def test_a_failure_is_not_kept(plugged):
    source = (
        "calls = []\n@register_profile_section('n', cache_seconds=60)\ndef n(ctx):\n    calls.append(1)\n"
        "    return [1 / (len(calls) - 1)]\n"
    )
    async with plugged(source) as running:
        assert failed("section_failed")((await sections(running))["n"])
        assert (await sections(running))["n"] == {"name": "n", "data": [1.0]}


async def test_a_section_not_asked_for_is_not_called(plugged):
    source = "calls = []\n@register_profile_section('n')\ndef n(ctx):\n    calls.append(1)\n    return [len(calls)]\n"
    async with plugged(source) as running:
        await sections(running, "segments")
        assert (await sections(running))["n"]["data"] == [1]


async def test_an_unknown_customer_calls_no_section(plugged):
    source = "calls = []\n@register_profile_section('n')\ndef n(ctx):\n    calls.append(1)\n    return [len(calls)]\n"
    async with plugged(source) as running:
        assert (await running.profile("nobody")).status_code == 404
        assert (await sections(running))["n"]["data"] == [1]


async def test_roles_decide_who_reads_a_section(plugged):
    source = "@register_profile_section('secret', roles=('admin',))\ndef secret(ctx):\n    return [1]\n"
    async with plugged(source, auth="keys") as running:
        viewer, admin = [{"X-API-Key": await running.key(role)} for role in ("viewer", "admin")]
        assert list(await sections(running, headers=viewer)) == BUILT_IN
        assert list(await sections(running, headers=admin)) == [*BUILT_IN, "secret"]
        refused = await running.profile("c1", "secret", headers=viewer)
        assert (refused.status_code, refused.json()["code"]) == (403, "section_forbidden")
        assert (await sections(running, "secret", headers=admin))["secret"]["data"] == [1]


async def test_a_section_that_is_no_default_comes_by_name_only(plugged):
    async with plugged("@register_profile_section('rare', default=False)\ndef rare(ctx):\n    return [1]\n") as running:
        assert list(await sections(running)) == BUILT_IN
        assert await sections(running, "rare") == {"rare": {"name": "rare", "data": [1]}}


@pytest.mark.parametrize(("kind", "read"), [("async def", "await ctx.read"), ("def", "ctx.read_sync")])
async def test_a_section_reads_other_sections_of_its_customer(plugged, kind, read):
    source = (
        f"@register_profile_section('tiers', timeout=2)\n{kind} tiers(ctx):\n"
        f"    return [one['segmentName'] for one in {read}('segments')]\n"
    )
    async with plugged(source) as running:
        await running.recorded("segments", SEGMENT | {"segmentName": "Other"}, "c2")
        assert (await sections(running, "tiers"))["tiers"]["data"] == ["High Value"]
        assert (await sections(running, "tiers", "c2"))["tiers"]["data"] == ["Other"]


@pytest.mark.parametrize(("kind", "read"), [("async def", "await ctx.read"), ("def", "ctx.read_sync")])
@pytest.mark.parametrize("name", ["nothing", "self"])
async def test_reading_a_computed_section_fails_the_reading_section_alone(plugged, kind, read, name):
    source = f"@register_profile_section('self', timeout=2)\n{kind} own(ctx):\n    return {read}({name!r})\n"
    async with plugged(source) as running:
        by_name = await sections(running)
        assert failed("section_failed")(by_name["self"])
        assert by_name["segments"]["data"] == [SEGMENT]


async def test_a_section_is_told_the_tenant_the_customer_and_its_identifiers(plugged):
    source = (
        "@register_profile_section('tags', timeout=2)\ndef tags(ctx):\n"
        "    return [ctx.tenant_id, ctx.customer_id, *[identifier.tag for identifier in ctx.identifiers]]\n"
    )
    async with plugged(source) as running:
        await running.recorded("identities", {"type": "email", "value": "a@example.com"})
        running.clock.advance(1)
        assert (await sections(running, "tags"))["tags"]["data"] == [
            TENANT,
            "c1",
            "customer_id:c1",
            "email:a@example.com",
        ]


async def test_too_many_hanging_calls_make_a_section_busy_and_no_other(plugged):
    source = HANGING["plain that blocks"].replace(str(SLEEPS), "2.0")
    source = (
        f'@register_profile_section("slow", timeout=0.05)\n{source}\n'
        '@register_profile_section("quick", timeout=2)\ndef quick(ctx):\n    return [1]\n'
    )
    async with plugged(source) as running:
        answers = await asyncio.gather(*(sections(running) for _ in range(50)))
        codes = [answer["slow"]["error"]["code"] for answer in answers]
        assert set(codes) == {"deadline_exceeded", "section_busy"}
        assert codes.count("deadline_exceeded") == 32
        assert all(answer["segments"]["data"] == [SEGMENT] for answer in answers)
        later = await sections(running)
        assert later["slow"]["error"]["code"] == "section_busy"
        assert later["quick"]["data"] == [1]


async def test_a_busy_section_comes_back_when_its_calls_have_ended(plugged):
    source = (
        '@register_profile_section("slow", timeout=0.05)\n'
        "def slow(ctx):\n    time.sleep(0.3 if ctx.customer_id == 'c1' else 0)\n    return [1]\n"
    )
    async with plugged(source) as running:
        await running.recorded("segments", SEGMENT, "c2")
        await asyncio.gather(*(sections(running, "slow") for _ in range(40)))
        assert (await sections(running, "slow", "c2"))["slow"]["error"]["code"] == "section_busy"
        await asyncio.sleep(0.5)
        assert (await sections(running, "slow", "c2"))["slow"]["data"] == [1]


async def test_a_profile_with_a_computed_section_has_no_etag(plugged):
    async with plugged("@register_profile_section('n')\ndef n(ctx):\n    return []\n") as running:
        assert "etag" not in (await running.profile("c1")).headers
        assert "etag" in (await running.profile("c1", "segments")).headers


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_kept_answer_is_of_the_person_as_it_is_now(plugged, kind):
    source = (
        "@register_profile_section('tags', timeout=2, cache_seconds=300)\n"
        f"{kind} tags(ctx):\n    return sorted(identifier.tag for identifier in ctx.identifiers)\n"
    )
    async with plugged(source) as running:
        await running.recorded("identities", {"type": "email", "value": "b@example.com"}, "c2")
        identities = running.services.identities

        async def tags_of(name):
            return (await sections(running, "tags", name))["tags"]["data"]

        alone = [await tags_of("c1"), await tags_of("c2")]
        assert alone == [["customer_id:c1"], ["customer_id:c2", "email:b@example.com"]]
        await identities.merge(TENANT, "c1", "c2", None)
        assert await tags_of("c1") == ["customer_id:c1", "customer_id:c2", "email:b@example.com"]
        await identities.unmerge(TENANT, "c1", "c2", None)
        assert [await tags_of("c1"), await tags_of("c2")] == alone


async def test_kept_answers_are_bounded_in_number_and_bytes(monkeypatch):
    monkeypatch.setattr(kept, "MAX_CACHED", 3)
    monkeypatch.setattr(kept, "MAX_CACHED_BYTES", 100)
    answers = kept.Kept()
    keys = [("t", f"c{number}", b"") for number in range(5)]
    for key in keys:
        answers.put(key, b"x", 60)
    assert [answers.get(key) for key in keys] == [None, None, b"x", b"x", b"x"]
    answers.put(keys[3], b"y" * 99, 60)
    assert [answers.get(key) for key in keys[2:]] == [None, b"y" * 99, b"x"]
    answers.put(keys[0], b"z" * 50, 60)
    assert [answers.get(key) for key in keys] == [b"z" * 50, None, None, None, None], "the oldest go first"
    answers.put(keys[1], b"z" * 101, 60)
    assert [answers.get(key) for key in keys] == [None] * 5


def test_kinds_of_failure_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(reports, "MAX_KINDS", 3)
    made = reports.Reports()
    for number in range(10):
        made.warn("tier", TENANT, str(number), "failed")
        assert 1 <= len(made._kinds) <= 3
