"""Circuit breakers: a section that failed several times in a row is left alone for a while, and then tried once."""

import asyncio

import pytest

import virtual
from harness import TENANT, service
from portrait.computed import Computed, Context, Deadlines, Reports, circuits
from portrait.computed.circuits import Circuits
from portrait.model.errors import PluginRefused
from portrait.sections.base import ComputedSection
from portrait.sections.registry import load

SOURCE = """
import asyncio
from portrait import register_profile_section

calls = []

@register_profile_section("frail", timeout=0.2, breaker=(3, 30))
{kind} frail(ctx):
    calls.append(ctx.customer_id)
    {body}
"""
SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}


def circuit(failures=3, seconds=30.0):
    """Return a function that makes a call at a moment, and tells whether it was made."""
    made = Circuits((failures, seconds))

    def call(now, failed, tenant="t"):
        alone = made.begin(tenant, now)
        if alone is None:
            return False
        made.end(tenant, now, alone=alone, failed=failed)
        return True

    return made, call


def test_after_failures_in_a_row_no_call_is_made_and_then_one_that_tries():
    made, call = circuit()
    assert [call(now, failed=True) for now in (0, 1, 2, 3, 31.9)] == [True, True, True, False, False]
    assert made.begin("t", 32) is True
    assert made.begin("t", 32) is None, "one call tries, no more"
    assert made.end("t", 33, alone=True, failed=True)
    assert [call(now, failed=True) for now in (34, 62.9)] == [False, False], "it failed: as long again"
    assert call(63, failed=False)
    assert [call(64, failed=True) for _ in range(3)] == [True, True, True], "closed: failures count anew"


def test_failures_that_are_not_in_a_row_stop_no_call():
    _, call = circuit()
    outcomes = [True, True, False] * 5
    assert all(call(now, failed) for now, failed in enumerate(outcomes))


def test_an_attempt_whose_caller_leaves_makes_room_for_the_next():
    made, call = circuit(failures=1)
    call(0, failed=True)
    assert made.begin("t", 30) is True
    assert not made.end("t", 30, alone=True, failed=None)
    assert made.begin("t", 30) is True


def test_one_tenants_failures_stop_no_call_of_anothers():
    _, call = circuit(failures=1)
    assert call(0, failed=True, tenant="a")
    assert not call(1, failed=True, tenant="a")
    assert call(1, failed=False, tenant="b")


def test_calls_that_began_before_do_not_prolong_the_wait():
    made, _ = circuit(failures=1)
    first, second = made.begin("t", 0), made.begin("t", 0)
    assert made.end("t", 1, alone=first, failed=True)
    assert not made.end("t", 20, alone=second, failed=True)
    assert made.begin("t", 31) is True


def test_tenants_whose_failures_are_counted_are_bounded(monkeypatch):
    monkeypatch.setattr(circuits, "MAX_TENANTS", 3)
    made, call = circuit(failures=1)
    for number in range(10):
        call(0, failed=True, tenant=f"t{number}")
    assert [*made._circuits] == ["t7", "t8", "t9"]


def test_in_virtual_time_a_section_comes_back():
    calls = []

    async def frail(context):
        raise AssertionError("it runs on a loop of its own, in real time")

    def section(function):
        return ComputedSection(
            name="frail", description="", origin="here", roles=frozenset({"viewer"}), default=True,
            function=function, timeout=5.0, cache_seconds=0, breaker=(2, 30.0),
        )  # fmt: skip

    class Answers:
        """Stands for the calls of a section: what they raise, in order."""

        async def call(self, context, until):
            calls.append(asyncio.get_running_loop().time())
            if len(calls) <= 3:
                raise TimeoutError
            return [1], None

        def close(self):
            pass

    async def main():
        computed = Computed(Reports())
        frail_section = section(frail)
        computed._runner(frail_section)._calls = Answers()
        context = Context(TENANT, "c1", (), None, None)
        codes = []
        for _ in range(80):
            part = (await computed.run([frail_section], context, Deadlines()))[0]
            codes.append(part.error[0] if part.error else part.body.decode())
            await asyncio.sleep(1)
        return codes

    codes = virtual.run(main())
    assert calls[:4] == [0, 1, 31, 61]
    assert codes == [
        *["deadline_exceeded"] * 2, *["circuit_open"] * 29, "deadline_exceeded", *["circuit_open"] * 29, *["[1]"] * 19,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("raise ValueError('x')", "section_failed"),
        ("return [object()]", "section_failed"),
        ("import time; time.sleep(0.4)", "deadline_exceeded"),
    ],
)
async def test_an_open_section_says_so_and_the_rest_is_whole(tmp_path, kind, body, code):
    plugin = tmp_path / "frail.py"
    plugin.write_text(SOURCE.format(kind=kind, body=body))
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        await running.recorded("segments", SEGMENT)
        answers = [(await running.profile()).json()["sections"] for _ in range(5)]
        codes = [next(part["error"]["code"] for part in answer if part["name"] == "frail") for answer in answers]
        assert codes == [code] * 3 + ["circuit_open"] * 2
        for answer in answers:
            assert [part["data"] for part in answer if part["name"] == "segments"] == [[SEGMENT]]
            assert [part["name"] for part in answer if "error" in part] == ["frail"]


async def test_a_section_that_is_too_large_has_not_failed(tmp_path):
    plugin = tmp_path / "frail.py"
    plugin.write_text(SOURCE.format(kind="def", body="return ['x' * 2000]"))
    async with service(tmp_path, plugins=(str(plugin),), max_section_bytes=1024) as running:
        await running.recorded("segments", SEGMENT)
        for _ in range(5):
            part = (await running.profile("c1", "frail")).json()["sections"][0]
            assert part["error"]["code"] == "too_large"


async def test_a_kept_answer_is_shown_while_the_section_is_left_alone(tmp_path):
    plugin = tmp_path / "frail.py"
    body = "if ctx.customer_id == 'c1': return [1]\n    raise ValueError"
    plugin.write_text(SOURCE.format(kind="def", body=body).replace("timeout=0.2", "timeout=2, cache_seconds=60"))
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        for customer in ("c1", "c2", "c3"):
            await running.recorded("segments", SEGMENT, customer)
        assert await running.section("frail") == [1]
        for _ in range(3):
            await running.profile("c2", "frail")
        part = (await running.profile("c3", "frail")).json()["sections"][0]
        assert part["error"]["code"] == "circuit_open"
        assert await running.section("frail") == [1]


@pytest.mark.parametrize("breaker", ["5", "(0, 30)", "(5, 0)", "(5,)", "('5', 30)", "(2.5, 30)"])
def test_a_breaker_that_cannot_be_is_refused(tmp_path, breaker):
    plugin = tmp_path / "frail.py"
    plugin.write_text(SOURCE.format(kind="def", body="return []").replace("(3, 30)", breaker))
    with pytest.raises(PluginRefused, match="breaker must be how many failures"):
        load([str(plugin)], installed=False)
