"""Cases of tenants and credentials."""

from portrait.storage.conformance.support import (
    BINARY,
    MAX,
    MIN,
    NAMES,
    OTHER,
    TENANT,
    ask,
    credential,
    paged,
    put_credentials,
    put_tenant,
    revoke,
    tenant,
)
from portrait.storage.contract import Credential, Store, Tenant, Transaction


async def _tenant(store: Store, id_: str) -> Tenant | None:
    return await ask(store, lambda reads: reads.tenant(id_))


async def _credential(store: Store, id_: str) -> Credential | None:
    return await ask(store, lambda reads: reads.credential(id_))


async def _credentials(store: Store, owner: str | None, after: str | None, limit: int) -> list[Credential]:
    return await ask(store, lambda reads: reads.credentials(owner, after, limit))


async def test_a_tenants_rules_are_its_own(store: Store) -> None:
    """`set_rules`: sets one tenant's rules, or takes them back."""
    for name in ("a", "b"):
        await store.write(TENANT, lambda tx, name=name: tx.put_tenant(Tenant(name, name, 0, b"")))  # type: ignore[misc]  # mypy knows no lambda with a default
    await store.write(TENANT, lambda tx: tx.set_rules("a", b"{}"))
    await store.write(TENANT, lambda tx: tx.set_rules("nobody", b"{}"))
    found = await ask(store, lambda reads: reads.tenants(None, 10))
    assert [(one.id, one.rules) for one in found] == [("a", b"{}"), ("b", None)]
    await store.write(TENANT, lambda tx: tx.set_rules("a", None))
    assert await ask(store, lambda reads: reads.tenant("a")) == Tenant("a", "a", 0, b"", None)


async def test_tenants_come_back_as_they_were_put(store: Store) -> None:
    """`put_tenant`, `tenant`: every field and byte is kept; an unknown one is None."""
    put = [Tenant("a", "A \u00e9\U0001f600", MIN, BINARY), Tenant("b", "", MAX, b"")]
    for one in put:
        assert await put_tenant(store, one) is True
    for one in put:
        assert await _tenant(store, one.id) == one
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
        assert [one.id for one in await paged(store.tenants, lambda one: one.id, limit)] == list(NAMES)
    assert [one.id for one in await store.tenants("aaa", 2)] == ["ab", "a\u0301"]


async def test_credentials_come_back_as_they_were_put(store: Store) -> None:
    """`put_credential`, `credential`: every field and byte is kept, None too; an unknown one is None."""
    put = [
        Credential("a", TENANT, "viewer", "n \u00e9\U0001f600", BINARY, "wxyz", MIN, MAX, 0),
        Credential("b", None, "platform", "", b"", "", 0, None, None),
    ]
    await put_credentials(store, *put)
    for one in put:
        assert await _credential(store, one.id) == one
    for unknown in ("", "A", "a ", "c"):
        assert await _credential(store, unknown) is None


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
        await _pages_are_in_order(store, owner, [one for one in ids if one.endswith(mark)])


async def _pages_are_in_order(store: Store, owner: str | None, expected: list[str]) -> None:
    for limit in (1, 4, len(expected)):
        found = await paged(lambda after, limit: store.credentials(owner, after, limit), lambda one: one.id, limit)
        assert [one.id for one in found] == expected


async def test_a_credential_is_revoked_once(store: Store) -> None:
    """`revoke_credential`: True the first time; then False, and the moment stays."""
    await put_credentials(store, credential("k"))
    await put_credentials(store, credential("l"))
    assert await revoke(store, TENANT, "k", 7) is True
    assert await revoke(store, TENANT, "k", 8) is False
    assert await store.credential("k") == credential("k")._replace(revoked_at=7)
    assert await store.credential("l") == credential("l")


async def test_only_its_own_tenant_or_the_platform_revokes_a_credential(store: Store) -> None:
    """`revoke_credential`: False for an unknown one and for another's, which stays as it was."""
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
