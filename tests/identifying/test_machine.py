"""The identity graph under random sequences of actions, on every engine."""

import asyncio

import pytest
from hypothesis.stateful import run_state_machine_as_test

from databases import administer
from identifying.machine import SETTINGS, TENANT, Machine
from portrait.model.errors import Defect, NotMerged, PortraitError, StorageBusy, StorageFailed
from portrait.storage.schema import POSTGRESQL


def test_whatever_happens_to_the_graph_on_sqlite():
    run_state_machine_as_test(Machine, settings=SETTINGS)


@pytest.mark.parametrize("error", [PortraitError, Defect, StorageFailed, StorageBusy, NotMerged, RuntimeError])
@pytest.mark.parametrize("action", ["link", "merge", "unmerge", "unlink"])
def test_a_failure_that_is_not_due_is_no_refusal(action, error):
    """An error of an action that the state does not call for ends the run."""

    class Failing(Machine):
        def __init__(self):
            super().__init__()

            async def fails(*args, **kwargs):
                raise error("a failure")

            setattr(self.services.identities, action, fails)

    machine = Failing()
    machine.begin(None)
    try:
        for customer_id in "AB":
            machine.tell(("customer_id", customer_id), "segments")
        if action in {"unmerge", "unlink"}:
            assert machine.run(machine.services.identities.merge(TENANT, "A", "B", None))
        with pytest.raises(error):
            {
                "link": lambda: machine.link_by_hand("A", ("email", "a@example.org"), 1.0),
                "merge": lambda: machine.merge("A", "B"),
                "unmerge": lambda: machine.unmerge("A", "B"),
                "unlink": lambda: machine.unlink("A", ("customer_id", "B")),
            }[action]()
    finally:
        machine.teardown()


def test_a_refusal_that_is_due_and_does_not_come_ends_the_run():
    machine = Machine()
    machine.begin(None)

    async def done(*args, **kwargs):
        return None

    try:
        machine.services.identities.merge = done
        with pytest.raises(AssertionError, match="CustomerNotFound was due"):
            machine.merge("A", "B")
    finally:
        machine.teardown()


@pytest.mark.parametrize("engine", ["postgres_url", "citus_url"])
async def test_whatever_happens_to_the_graph_on_a_server(engine, request):
    url = await asyncio.to_thread(request.getfixturevalue, engine)

    class OnServer(Machine):
        def database(self):
            administer(url, f"TRUNCATE {', '.join(POSTGRESQL.tables)}")
            return url

    await asyncio.to_thread(run_state_machine_as_test, OnServer, settings=SETTINGS)
