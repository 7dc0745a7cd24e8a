"""Coroutine functions that never yield cost their own deadline, and delay no other call."""

import asyncio
import threading

import pytest

from harness import service
from portrait.computed import calls

DEADLINE = 2.0  # and a busy machine may stop every task for a second
SOURCE = """
import os, time
from portrait import register_profile_section

@register_profile_section("tier", timeout={deadline})
async def tier(ctx):
    if ctx.customer_id.startswith("hangs"):
        while not os.path.exists({released!r}):
            time.sleep(0.01)
    return [ctx.customer_id]
"""
SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}


class Plugged:
    def __init__(self, running, released):
        self._running = running
        self._released = released

    async def tier(self, customer_id):
        """Return the section's data, or the error's code."""
        answer = await self._running.profile(customer_id, "tier")
        (part,) = answer.json()["sections"]
        assert part["data"] == [] or "error" not in part
        return part.get("error", {}).get("code") or part["data"]

    def release(self):
        self._released.touch()


@pytest.fixture
async def plugged(tmp_path):
    """A service with a section that does not yield for some customers, until it is released."""
    released = tmp_path / "released"
    plugin = tmp_path / "plugin.py"
    plugin.write_text(SOURCE.format(deadline=DEADLINE, released=str(released)))
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        for name in ("hangs1", "hangs2", "good", "other"):
            await running.recorded("segments", SEGMENT, name)
        yield Plugged(running, released)
        released.touch()


def loops():
    return sum(thread.name == "portrait-section-tier" for thread in threading.enumerate())


async def until(holds):
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be")


async def test_a_call_that_never_yields_costs_later_calls_nothing(plugged):
    assert await plugged.tier("hangs1") == "deadline_exceeded"
    assert [await plugged.tier(name) for name in ("good", "other", "good")] == [["good"], ["other"], ["good"]]


async def test_calls_that_wait_behind_one_that_never_yields_are_answered_elsewhere(plugged):
    assert await plugged.tier("good") == ["good"]
    answers = await asyncio.gather(*map(plugged.tier, ("hangs1", "good", "other", "good")))
    assert answers == ["deadline_exceeded", ["good"], ["other"], ["good"]]


async def test_calls_that_came_to_the_loop_together_with_one_that_never_yields_are_answered_elsewhere():
    queued, released = threading.Event(), threading.Event()

    async def function(context):
        (released if context == "hangs" else queued).wait()
        return context

    loops = calls.Loops("tier", function, lambda context, count: None)
    until = asyncio.get_running_loop().time() + DEADLINE
    called = [asyncio.create_task(loops.call(name, until)) for name in ("first", "hangs", "good")]
    await asyncio.sleep(0.1)  # all are on their way to the loop, which the first holds
    queued.set()
    first, hangs, good = await asyncio.gather(*called, return_exceptions=True)
    released.set()
    loops.close()
    assert (first, good) == (("first", None), ("good", None))
    assert isinstance(hangs, TimeoutError)


async def test_loops_that_hang_are_bounded_then_the_section_is_busy_at_once(plugged, monkeypatch):
    monkeypatch.setattr(calls, "MAX_LOOPS", 2)
    for name in ("hangs1", "hangs2"):
        assert await plugged.tier(name) == "deadline_exceeded"
    began = asyncio.get_running_loop().time()
    assert [await plugged.tier("good") for _ in range(3)] == ["section_busy"] * 3
    assert asyncio.get_running_loop().time() - began < 3 * DEADLINE, "none waits for its deadline"
    assert loops() == 2


async def test_a_loop_that_comes_round_after_all_ends_and_the_section_answers_again(plugged, monkeypatch):
    monkeypatch.setattr(calls, "MAX_LOOPS", 2)
    for name in ("hangs1", "hangs2"):
        await plugged.tier(name)
    assert await plugged.tier("good") == "section_busy"
    plugged.release()
    await until(lambda: loops() == 0)
    assert await plugged.tier("good") == ["good"]
    assert await plugged.tier("hangs1") == ["hangs1"]
    assert loops() == 1


async def test_it_is_logged_once_and_not_at_every_call(plugged, caplog, monkeypatch):
    monkeypatch.setattr(calls, "MAX_LOOPS", 2)
    for name in ("hangs1", "hangs2", "good", "good", "good"):
        await plugged.tier(name)
    texts = [log_record.getMessage() for log_record in caplog.records if log_record.name == "portrait.sections"]
    assert sum("its event loop was abandoned" in text for text in texts) == 2, "the first, and that there is no more"
    assert sum("deadline" in text for text in texts) == 1
    assert sum("have not ended" in text for text in texts) == 1


async def test_a_loop_that_a_plugin_stops_is_replaced(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import asyncio\nfrom portrait import register_profile_section\n"
        '@register_profile_section("tier", timeout=2)\nasync def tier(ctx):\n'
        '    if ctx.customer_id == "stops":\n        asyncio.get_running_loop().stop()\n'
        "        await asyncio.sleep(9)\n"
        "    return [ctx.customer_id]\n"
    )
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        plugged = Plugged(running, tmp_path / "released")
        for name in ("stops", "good"):
            await running.recorded("segments", SEGMENT, name)
        assert await plugged.tier("stops") == "section_failed"
        await until(lambda: loops() == 0)
        assert await plugged.tier("good") == ["good"]
