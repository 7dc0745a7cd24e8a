"""Cases of the folds' states."""

from portrait.model.identifier import Identifier, customer
from portrait.storage.conformance.support import BINARY, NAMES, TENANT, ask
from portrait.storage.contract import Changes, Store, StoredState

C = customer("c")
EMAIL = Identifier("email", "c")
STATE = StoredState(b"state", 1)


async def test_states_come_back_as_they_were_put(store: Store) -> None:
    """`apply`, `states`: every byte is kept; of the pairs wanted, those stored are returned."""
    states = {
        (C, "consent"): StoredState(BINARY, 2**31 - 1),
        (C, "segments"): StoredState(b"", 0),
        (EMAIL, "segments"): STATE,
    }
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(states=states)))
    assert await ask(store, lambda reads: reads.states(TENANT, list(states))) == states
    wanted = [(C, "segments"), (EMAIL, "consent"), (customer("d"), "segments")]
    assert await ask(store, lambda reads: reads.states(TENANT, wanted)) == {(C, "segments"): StoredState(b"", 0)}
    assert await ask(store, lambda reads: reads.states(TENANT, [])) == {}


async def test_a_put_replaces_the_state_of_its_pair_alone(store: Store) -> None:
    """`apply`: sets a state whole, and leaves the others; nothing put changes nothing."""
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(states={(C, "segments"): STATE, (C, "consent"): STATE}))
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(states={(C, "segments"): StoredState(b"new", 2)})))
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(states={})))
    assert await ask(store, lambda reads: reads.states(TENANT, [(C, "segments"), (C, "consent")])) == {
        (C, "segments"): StoredState(b"new", 2),
        (C, "consent"): STATE,
    }


async def test_states_of_names_that_look_alike_are_different(store: Store) -> None:
    """Text compares by its bytes, in identifiers and in sections."""
    states = {(customer(name), "segments"): StoredState(name.encode(), 1) for name in NAMES}
    states |= {(C, name): StoredState(name.encode(), 1) for name in NAMES}
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(states=states)))
    assert await ask(store, lambda reads: reads.states(TENANT, list(states))) == states


async def test_dropped_states_are_gone(store: Store) -> None:
    """`apply`: removes just the pairs named; what is not there is no error."""
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(states={(C, "segments"): STATE, (C, "consent"): STATE}))
    )
    await store.write(
        TENANT, lambda tx: tx.apply(TENANT, Changes(states=dict.fromkeys([(C, "segments"), (EMAIL, "consent")])))
    )
    await store.write(TENANT, lambda tx: tx.apply(TENANT, Changes(states=dict.fromkeys([]))))
    pairs = [(C, "segments"), (C, "consent")]
    assert await ask(store, lambda reads: reads.states(TENANT, pairs)) == {(C, "consent"): STATE}


async def test_states_of_identifiers_are_all_that_are_stored(store: Store) -> None:
    """`states_of`: every state of the identifiers asked for, and of no other."""
    await store.write(
        TENANT,
        lambda tx: tx.apply(
            TENANT, Changes(states={(C, "segments"): STATE, (C, "consent"): STATE, (EMAIL, "segments"): STATE})
        ),
    )
    asked = [C, customer("C"), customer("d")]
    states = await ask(store, lambda reads: reads.states_of(TENANT, asked))
    assert states == {(C, "segments"): STATE, (C, "consent"): STATE}
    assert await ask(store, lambda reads: reads.states_of(TENANT, [])) == {}
