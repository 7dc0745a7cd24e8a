"""Cases of tenants and credentials."""

import asyncio
from functools import partial

from portrait.model.identifier import customer
from portrait.storage.conformance.support import (
    BINARY,
    MAX,
    MIN,
    NAMES,
    OTHER,
    TENANT,
    ask,
    credential,
    fact,
    paged,
    put_credentials,
    put_tenant,
    revoke,
    tenant,
)
from portrait.storage.contract import Changes, Credential, Store, TenantRow, Transaction


async def _tenant(store: Store, id_: str) -> TenantRow | None:
    return await ask(store, lambda reads: reads.tenant(id_))


async def _credential(store: Store, id_: str) -> Credential | None:
    return await ask(store, lambda reads: reads.credential(id_))


async def _credentials(store: Store, owner: str | None, after: str | None, limit: int) -> list[Credential]:
    return await ask(store, lambda reads: reads.credentials(owner, after, limit))


async def test_a_tenants_rules_are_its_own(store: Store) -> None:
    """`set_rules`: sets one tenant's rules, or takes them back."""
    for name in ("a", "b"):
        await store.write(TENANT, lambda tx, name=name: tx.put_tenant(TenantRow(name, name, 0, b"")))  # type: ignore[misc]  # mypy knows no lambda with a default
    await store.write(TENANT, lambda tx: tx.set_rules("a", b"{}"))
    await store.write(TENANT, lambda tx: tx.set_rules("nobody", b"{}"))
    tenants = await ask(store, lambda reads: reads.tenants(None, 10))
    assert [(row.id, row.rules) for row in tenants] == [("a", b"{}"), ("b", None)]
    await store.write(TENANT, lambda tx: tx.set_rules("a", None))
    assert await ask(store, lambda reads: reads.tenant("a")) == TenantRow("a", "a", 0, b"", None)


async def test_tenants_come_back_as_they_were_put(store: Store) -> None:
    """`put_tenant`, `tenant`: every field and byte is kept; an unknown one is None."""
    put = [TenantRow("a", "A \u00e9\U0001f600", MIN, BINARY), TenantRow("b", "", MAX, b"")]
    for row in put:
        assert await put_tenant(store, row) is True
    for row in put:
        assert await _tenant(store, row.id) == row
    for unknown in ("", "A", "a ", "c"):
        assert await _tenant(store, unknown) is None


async def test_a_taken_tenant_id_is_refused_and_nothing_changes(store: Store) -> None:
    """`put_tenant`: False, and nothing done, where the id is taken."""
    assert await put_tenant(store, tenant(TENANT))
    assert await put_tenant(store, tenant(TENANT, name="new", secret=b"new")) is False
    assert await store.tenant(TENANT) == tenant(TENANT)

    async def twice(tx: Transaction) -> tuple[bool, bool]:
        return await tx.put_tenant(tenant(OTHER)), await tx.put_tenant(tenant(OTHER, name="new"))

    assert await store.write(TENANT, twice) == (True, False)
    assert await store.tenant(OTHER) == tenant(OTHER)


async def test_work_goes_on_after_a_taken_tenant_id(store: Store) -> None:
    """`put_tenant`: the answer False breaks nothing; what the work does beside it is kept."""
    await put_tenant(store, tenant(TENANT))

    async def work(tx: Transaction) -> None:
        assert not await tx.put_tenant(tenant(TENANT))
        await tx.put_credential(credential("k"))

    await store.write(TENANT, work)
    assert await store.credential("k") == credential("k")


async def test_tenants_are_paged_by_the_bytes_of_their_ids(store: Store) -> None:
    """`tenants`: up to `limit` above `after`, by id; each once."""
    assert await ask(store, lambda reads: reads.tenants(None, 10)) == []
    for name in reversed(NAMES):
        await put_tenant(store, tenant(name))
    assert await ask(store, lambda reads: reads.tenants(None, 100)) == [tenant(name) for name in NAMES]
    for limit in (1, 4, len(NAMES)):
        assert [row.id for row in await paged(store.tenants, lambda row: row.id, limit)] == list(NAMES)
    assert [row.id for row in await store.tenants("aaa", 2)] == ["ab", "a\u0301"]


async def test_credentials_come_back_as_they_were_put(store: Store) -> None:
    """`put_credential`, `credential`: every field and byte is kept, None too; an unknown one is None."""
    put = [
        Credential(
            "a", TENANT, "viewer", "n \u00e9\U0001f600", BINARY, "wxyz", MIN, MAX, 0, "m \u00e9\U0001f600", MAX, BINARY
        ),
        Credential("b", None, "platform", "", b"", "", 0, None, None),
    ]
    await put_credentials(store, *put)
    for row in put:
        assert await _credential(store, row.id) == row
    for unknown in ("", "A", "a ", "c"):
        assert await _credential(store, unknown) is None


async def test_the_last_use_of_a_credential_is_noted_and_no_others(store: Store) -> None:
    """`note_use`: the latest use that was noted counts, in whatever order they come; no other credential's changes."""
    await put_credentials(store, credential("a"), credential("b", None), credential("c", OTHER))
    for at in (MIN, 5, 7, 6):
        await store.write(TENANT, lambda tx, at=at: tx.note_use("a", at))  # type: ignore[misc]  # mypy knows no lambda with a default
    await store.write(None, lambda tx: tx.note_use("nobody", 9))
    assert await _credential(store, "a") == credential("a")._replace(last_used_at=7)
    assert await _credential(store, "b") == credential("b", None)
    assert await _credential(store, "c") == credential("c", OTHER)


async def test_credentials_are_listed_of_one_tenant_or_of_the_platform(store: Store) -> None:
    """`credentials`: of the tenant asked for; None: the platform's own, and no tenant's."""
    for id_, owner in (("1", TENANT), ("2", None), ("3", OTHER), ("4", TENANT.upper()), ("5", None), ("6", TENANT)):
        await put_credentials(store, credential(id_, owner))
    for owner, ids in ((TENANT, ["1", "6"]), (None, ["2", "5"]), (OTHER, ["3"]), ("unknown", []), ("", [])):
        assert await _credentials(store, owner, None, 10) == [credential(id_, owner) for id_ in ids]


async def test_credentials_are_paged_by_the_bytes_of_their_ids(store: Store) -> None:
    """`credentials`: up to `limit` above `after`, by id; each once, a tenant's and the platform's alike."""
    ids = sorted((name + mark for name in NAMES for mark in "tp"), key=str.encode)
    for owner, mark in ((TENANT, "t"), (None, "p")):
        await put_credentials(store, *(credential(name + mark, owner) for name in reversed(NAMES)))
        await _pages_are_in_order(store, owner, [id_ for id_ in ids if id_.endswith(mark)])


async def _pages_are_in_order(store: Store, owner: str | None, expected: list[str]) -> None:
    for limit in (1, 4, len(expected)):
        credentials = await paged(
            lambda after, limit: store.credentials(owner, after, limit), lambda row: row.id, limit
        )
        assert [row.id for row in credentials] == expected


async def test_a_credential_is_revoked_once(store: Store) -> None:
    """`revoke_credentials`: True the first time; then False, and the moment stays."""
    await put_credentials(store, credential("k"))
    await put_credentials(store, credential("l"))
    assert await revoke(store, TENANT, "k", 7) is True
    assert await revoke(store, TENANT, "k", 8) is False
    assert await store.credential("k") == credential("k")._replace(revoked_at=7)
    assert await store.credential("l") == credential("l")


async def test_only_its_own_tenant_or_the_platform_revokes_a_credential(store: Store) -> None:
    """`revoke_credentials`: False for an unknown one and for another's, which stays as it was."""
    await put_credentials(store, credential("tenant's"))
    await put_credentials(store, credential("platform's", None))
    for owner, id_ in (
        (OTHER, "tenant's"), (None, "tenant's"), ("", "tenant's"), (TENANT.upper(), "tenant's"), (TENANT, "Tenant's"),
        (TENANT, "platform's"), ("", "platform's"), (TENANT, "unknown"), (None, "unknown"),
    ):  # fmt: skip
        assert await revoke(store, owner, id_, 7) is False
    assert await store.credential("tenant's") == credential("tenant's")
    assert await store.credential("platform's") == credential("platform's", None)
    assert await revoke(store, None, "platform's", MIN) is True
    assert await store.credential("platform's") == credential("platform's", None)._replace(revoked_at=MIN)


async def test_several_credentials_are_revoked_at_once_and_those_are_named(store: Store) -> None:
    """`revoke_credentials`: the ids of live credentials of this tenant; the other credentials stay as they were."""
    await put_credentials(store, *map(credential, "abc"), credential("theirs", OTHER), credential("platform's", None))
    assert await revoke(store, TENANT, "b", 7)
    wanted = ["a", "b", "c", "theirs", "platform's", "unknown"]
    assert await store.write(TENANT, lambda tx: tx.revoke_credentials(TENANT, wanted, 8)) == {"a", "c"}
    assert await store.write(TENANT, lambda tx: tx.revoke_credentials(TENANT, [], 9)) == set()
    credentials = await _credentials(store, TENANT, None, 10)
    assert [row.revoked_at for row in credentials] == [8, 7, 8]
    assert await store.credential("theirs") == credential("theirs", OTHER)
    assert await store.credential("platform's") == credential("platform's", None)


_LINE = (
    credential("root", None), credential("tenant's", minted_by="root"), credential("child", minted_by="tenant's"),
    credential("grandchild", minted_by="child"), credential("sibling", minted_by="tenant's"),
    credential("other's", OTHER, minted_by="root"), credential("other child", OTHER, minted_by="other's"),
    credential("alone"), credential("its own", minted_by="its own"),
)  # fmt: skip
"""Credentials and who minted them."""


async def _descendants(store: Store, owner: str | None, id_: str, after: str | None = None) -> list[str]:
    descendants = await ask(store, lambda reads: reads.descendants(owner, id_, after, 10))
    assert all(row in _LINE for row in descendants)
    return [row.id for row in descendants]


async def test_descendants_are_what_a_credential_minted_and_what_that_minted_in_turn(store: Store) -> None:
    """`descendants`: all the way down, by id; of a tenant's only its own, for the platform of all tenants."""
    await put_credentials(store, *_LINE)
    for owner, id_, expected in (
        (TENANT, "tenant's", ["child", "grandchild", "sibling"]), (TENANT, "child", ["grandchild"]),
        (TENANT, "grandchild", []), (TENANT, "alone", []), (TENANT, "unknown", []), (TENANT, "", []),
        (TENANT, "root", ["child", "grandchild", "sibling", "tenant's"]), (TENANT, "other's", []),
        (OTHER, "root", ["other child", "other's"]), (OTHER, "tenant's", []), ("", "root", []),
        (None, "root", ["child", "grandchild", "other child", "other's", "sibling", "tenant's"]),
        (TENANT, "its own", ["its own"]),
    ):  # fmt: skip
        assert await _descendants(store, owner, id_) == expected, (owner, id_)
    assert await _descendants(store, TENANT, "tenant's", "child") == ["grandchild", "sibling"]
    assert await _descendants(store, None, "root", "other's") == ["sibling", "tenant's"]
    revoked = await store.write(TENANT, lambda tx: tx.revoke_credentials(TENANT, ["child"], 7))
    assert revoked == {"child"}
    descendants = await store.descendants(TENANT, "tenant's", None, 2)
    assert [(row.id, row.revoked_at) for row in descendants] == [("child", 7), ("grandchild", None)]


async def test_another_tenants_credential_connects_none_of_a_tenants(store: Store) -> None:
    """`descendants`: of a tenant's, only its own connect, whatever the rows of others say."""
    await put_credentials(
        store, credential("a"), credential("b", OTHER, minted_by="a"), credential("c", minted_by="b"),
        credential("d", None, minted_by="a"), credential("e", minted_by="d"), credential("f", minted_by="a"),
        credential("g", OTHER, minted_by="f"), credential("h", minted_by="g"),
    )  # fmt: skip
    descendants = await ask(store, lambda reads: reads.descendants(TENANT, "a", None, 10))
    assert [row.id for row in descendants] == ["f"]


async def test_descendants_are_paged_by_the_bytes_of_their_ids(store: Store) -> None:
    """`descendants`: up to `limit` above `after`, by id; each once."""
    await put_credentials(store, *(credential(name, minted_by="minter") for name in reversed(NAMES)))
    for limit in (1, 4, len(NAMES)):
        descendants = await paged(
            lambda after, limit: store.descendants(TENANT, "minter", after, limit), lambda row: row.id, limit
        )
        assert [row.id for row in descendants] == list(NAMES)


async def test_a_credential_held_is_revoked_only_after_the_transaction(store: Store) -> None:
    """`hold_credential`: what is minted under it is there for whoever revokes it at the same moment."""
    await put_credentials(store, *(credential(f"k{number:02}") for number in range(20)))
    assert await store.write(TENANT, lambda tx: tx.hold_credential("unknown")) is None
    assert await store.write(TENANT, lambda tx: tx.hold_credential("k00")) == credential("k00")

    async def mint(tx: Transaction, id_: str) -> bool:
        minter = await tx.hold_credential(id_)
        assert minter is not None
        if minter.revoked_at is not None:
            return False
        for _ in range(10):  # long enough for a revocation that does not wait
            assert await tx.credential(id_) == minter
        await tx.put_credential(credential(f"child of {id_}", minted_by=id_))
        return True

    async def revoke_and_look(id_: str) -> list[str]:
        assert await revoke(store, TENANT, id_, 7)
        return [row.id for row in await store.descendants(TENANT, id_, None, 10)]

    async def both(id_: str) -> None:
        minted, seen = await asyncio.gather(store.write(TENANT, partial(mint, id_=id_)), revoke_and_look(id_))
        assert seen == [f"child of {id_}"] * minted

    for number in range(20):  # one after another: once connections are there, the two begin together
        await both(f"k{number:02}")


async def test_rules_that_are_held_are_set_only_after_the_transaction(store: Store) -> None:
    """`hold_rules`: what is recorded under rules is there for whoever holds them alone to set others."""
    assert await store.write(None, lambda tx: tx.hold_rules("unknown")) is None
    tenants = [TenantRow(f"t{number:02}", "", 1, b"k" * 32) for number in range(20)]
    for row in tenants:
        assert await put_tenant(store, row)
    assert await store.write("t00", lambda tx: tx.hold_rules("t00")) == tenants[0]
    assert await store.write("t00", lambda tx: tx.hold_rules("t00", alone=True)) == tenants[0]

    async def record(tx: Transaction, tenant: str) -> bool:
        ruled = await tx.hold_rules(tenant)
        assert ruled is not None
        if ruled.rules is not None:
            return False
        for _ in range(10):  # long enough for rules that are not waited with
            assert await tx.tenant(tenant) == ruled
        await tx.apply(tenant, Changes(facts=[fact(customer("c"), 1)]))
        return True

    async def set_and_look(tx: Transaction, tenant: str) -> int:
        await tx.hold_rules(tenant, alone=True)
        recorded_count = len(await tx.fact_identifiers(tenant, None, 10))
        await tx.set_rules(tenant, b"{}")
        return recorded_count

    for row in tenants:  # one after another: once connections are there, the two begin together
        recorded, seen = await asyncio.gather(
            store.write(row.id, partial(record, tenant=row.id)),
            store.write(row.id, partial(set_and_look, tenant=row.id)),
        )
        assert seen == recorded
