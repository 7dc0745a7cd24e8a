"""Cases of a store's end."""

import asyncio

from portrait.model.errors import ShuttingDown, Unavailable
from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT, append, fact, raised
from portrait.storage.contract import Store
from portrait.storage.migrations import LATEST

C = customer("c")


async def test_close_finishes_the_writes_that_were_accepted(store: Store) -> None:
    """`close`: writes that had begun are acknowledged, none is left waiting."""
    writes = [asyncio.ensure_future(append(store, fact(C, number, key=f"{number}"))) for number in range(50)]
    await asyncio.sleep(0)  # each has now called `write`
    await store.close()
    for _ in range(10):
        await asyncio.sleep(0)  # the answers are given; each caller takes its turn
    assert all(write.done() for write in writes), "close did not wait"
    assert await asyncio.gather(*writes, return_exceptions=True) == [None] * 50


async def test_close_lets_accepted_work_fail_with_its_own_error(store: Store) -> None:
    """`close`: an accepted work that raises does so still."""

    async def work(_: object) -> None:
        raise KeyError("its own")

    waiting = asyncio.ensure_future(store.write(TENANT, work))
    await asyncio.sleep(0)
    await store.close()
    await raised(KeyError, waiting)


async def test_closing_again_does_nothing(store: Store) -> None:
    """`close`: may be called again, and at once by several."""
    await append(store, fact(C, 1))
    await asyncio.gather(store.close(), store.close())
    await store.close()


async def test_a_closed_store_takes_no_writes(store: Store) -> None:
    """`write`: raises ShuttingDown, which is Unavailable, once the store is closing; the work is not run."""
    ran = []

    async def work(_: object) -> None:
        ran.append(1)

    await store.close()
    error = await raised(ShuttingDown, store.write(TENANT, work))
    assert isinstance(error, Unavailable)
    assert error.detail
    await raised(ShuttingDown, store.write(TENANT, work))
    assert ran == []


async def test_a_closed_store_is_not_ready(store: Store) -> None:
    """`ready`: raises Unavailable where the database does not answer."""
    await store.ready()
    await store.close()
    await raised(Unavailable, store.ready())


async def test_a_store_says_which_revision_its_schema_has(store: Store) -> None:
    """`revision`: a store that may be written has the newest."""
    assert await store.revision() == LATEST


async def test_a_closed_store_reads_nothing(store: Store) -> None:
    """Reads of a closed store raise Unavailable, and never hang or answer."""
    await append(store, fact(C, 1))
    await store.close()
    await raised(Unavailable, store.facts(TENANT, [C]))
