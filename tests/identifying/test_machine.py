"""The identity graph, under anything that may happen to it, on every engine."""

import asyncio

import pytest
from hypothesis.stateful import run_state_machine_as_test

from databases import administer
from identifying.machine import SETTINGS, Machine
from portrait.storage.schema import metadata


def test_whatever_happens_to_the_graph_on_sqlite():
    run_state_machine_as_test(Machine, settings=SETTINGS)


@pytest.mark.parametrize("engine", ["postgres_url", "citus_url"])
async def test_whatever_happens_to_the_graph_on_a_server(engine, request):
    url = await asyncio.to_thread(request.getfixturevalue, engine)

    class OnServer(Machine):
        def database(self):
            administer(url, f"TRUNCATE {', '.join(metadata.tables)}")
            return url

    await asyncio.to_thread(run_state_machine_as_test, OnServer, settings=SETTINGS)
