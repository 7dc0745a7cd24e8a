"""One suite that every storage engine passes: a case for each promise that `contract.py` makes.

A case is a coroutine function that takes an open, empty store and asserts. Run it against an engine of your own::

    pytest.register_assert_rewrite("portrait.storage.conformance")  # failures then show values

    @pytest.mark.parametrize("case", conformance.cases())
    async def test_keeps_the_contract(case, store):  # `store`: your fixture, a new database for each test
        await case(store)

Nothing here needs pytest: `asyncio.run(case(store))` serves as well. What two engines differ in
becomes a case.
"""

from collections.abc import Awaitable, Callable
from types import ModuleType

from portrait.storage.conformance import (
    access,
    changes,
    collecting,
    documents,
    events,
    facts,
    identifiers,
    isolation,
    lifecycle,
    states,
    transactions,
    upkeep,
)
from portrait.storage.contract import Store

Case = Callable[[Store], Awaitable[None]]
"""One promise: takes an open, empty store."""

_FILES: tuple[ModuleType, ...] = (
    documents, identifiers, states, changes, facts, events, access, collecting, upkeep, isolation, transactions,
    lifecycle,
)  # fmt: skip


def cases() -> list[Case]:
    """Return every case, in the order of the files."""
    return [case for file in _FILES for name, case in vars(file).items() if name.startswith("test_")]
