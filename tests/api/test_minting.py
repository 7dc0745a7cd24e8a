"""Keys that keys make: a key ends no later than its minter, names its minter, and can be revoked with it."""

import asyncio

import pytest

from harness import TENANT
from portrait.access import descent
from portrait.model import time
from portrait.model.errors import KeyNotFound, Unauthenticated

KEYS = "/api/v1/keys"


@pytest.fixture
def minting(guarded_anywhere):
    return guarded_anywhere


def id_of(key):
    return key.split("_")[1]


async def mint(running, key, role="admin", tenant=TENANT, **more):
    """Make a key by another key over the API and return the answer."""
    headers = {"X-API-Key": key, "X-Tenant-Id": tenant}
    answer = await running.client.post(KEYS, json={"role": role, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def works(running, key):
    return (await running.client.get(KEYS, headers={"X-API-Key": key, "X-Tenant-Id": TENANT})).status_code == 200


async def test_a_key_ends_no_later_than_the_one_that_made_it(minting):
    end = minting.clock() + 4 * time.SECOND
    end_text = time.rfc3339(end)
    parent = await minting.key("admin", expires_at=end)
    child = await mint(minting, parent)
    assert child["expiresAt"] == end_text
    assert (await mint(minting, parent, expiresAt=end_text))["expiresAt"] == end_text
    earlier = time.rfc3339(end - time.SECOND)
    assert (await mint(minting, parent, expiresAt=earlier))["expiresAt"] == earlier
    grandchild = await mint(minting, child["key"])
    assert grandchild["expiresAt"] == end_text
    for key in (parent, child["key"], grandchild["key"]):
        later = {"role": "viewer", "expiresAt": time.rfc3339(end + 1)}
        refused = await minting.client.post(KEYS, json=later, headers={"X-API-Key": key})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
        assert end_text in refused.json()["detail"]
        assert later["expiresAt"] not in refused.text
    assert len(await minting.services.access.keys(TENANT, None, 100)) == 5
    minting.clock.advance(5)
    for key in (parent, child["key"], grandchild["key"]):
        assert not await works(minting, key)


async def test_a_key_without_an_end_makes_keys_with_and_without(minting):
    parent = await minting.key("admin")
    assert (await mint(minting, parent))["expiresAt"] is None
    assert (await mint(minting, parent, expiresAt="2999-01-01T00:00:00Z"))["expiresAt"] == "2999-01-01T00:00:00Z"


async def test_a_platforms_key_passes_its_end_on(minting):
    end = minting.clock() + 4 * time.SECOND
    platform = await minting.key("platform", None, expires_at=end)
    assert (await mint(minting, platform))["expiresAt"] == time.rfc3339(end)


async def line(running):
    """Return keys that made each other: the platform's, two tenants' admins, and the first admin's descendants."""
    platform = await running.key("platform", None)
    admin = await mint(running, platform)
    other = await mint(running, platform, tenant="other")
    child = await mint(running, admin["key"])
    grandchild = await mint(running, child["key"], "viewer")
    return platform, admin, other, child, grandchild


async def test_the_minter_is_kept_and_shown(minting):
    platform, admin, other, child, grandchild = await line(minting)
    by_hand = await minting.key("viewer")
    minters = {admin["id"]: "platform", child["id"]: admin["id"], grandchild["id"]: child["id"], id_of(by_hand): None}
    for key in (admin["key"], child["key"]):
        listed = (await minting.client.get(KEYS, headers={"X-API-Key": key})).json()["data"]
        assert {credential["id"]: credential["mintedBy"] for credential in listed} == minters
    headers = {"X-API-Key": platform, "X-Tenant-Id": TENANT}
    listed = (await minting.client.get(KEYS, headers=headers)).json()["data"]
    assert {credential["id"]: credential["mintedBy"] for credential in listed} == {
        **minters,
        admin["id"]: id_of(platform),
    }
    assert other["id"] not in minters


async def test_keys_are_listed_by_who_made_them_in_pages(minting):
    platform, admin, other, child, grandchild = await line(minting)
    headers = {"X-API-Key": admin["key"]}

    async def listed(key_id, headers=headers):
        key_ids, params = [], {"mintedBy": key_id, "limit": 1}
        while True:
            page = (await minting.client.get(KEYS, params=params, headers=headers)).json()
            key_ids += [credential["id"] for credential in page["data"]]
            if not page["pagination"]["hasMore"]:
                return key_ids
            params["cursor"] = page["pagination"]["cursor"]

    assert await listed(admin["id"]) == sorted([child["id"], grandchild["id"]])
    assert await listed(child["id"]) == [grandchild["id"]]
    assert await listed(other["id"]) == await listed("unknown") == []
    both = {"X-API-Key": platform, "X-Tenant-Id": TENANT}
    assert await listed(id_of(platform), both) == sorted([admin["id"], child["id"], grandchild["id"]])
    theirs = {"X-API-Key": other["key"]}
    assert await listed(admin["id"], theirs) == await listed(child["id"], theirs) == []
    for wrong in ("", "a" * 257, "a\nb"):
        answer = await minting.client.get(KEYS, params={"mintedBy": wrong}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_a_revocation_lists_what_the_key_made_and_takes_it_along_if_asked(minting):
    _, admin, other, child, grandchild = await line(minting)
    sibling = await mint(minting, admin["key"])
    headers = {"X-API-Key": await minting.key("admin")}
    path = f"{KEYS}/{admin['id']}"
    answer = await minting.client.delete(path, headers=headers)
    assert answer.status_code == 200
    made = sorted([child["id"], grandchild["id"], sibling["id"]])
    assert [(credential["id"], credential["revokedAt"]) for credential in answer.json()["data"]] == [
        (key_id, None) for key_id in made
    ]
    assert not await works(minting, admin["key"])
    assert await works(minting, child["key"])
    for wrong in ("True", "1", "yes"):
        refused = await minting.client.delete(path, params={"descendants": wrong}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    again = await minting.client.delete(path, params={"descendants": "false"}, headers=headers)
    assert (again.status_code, again.json()["code"]) == (404, "key_not_found")
    taken = await minting.client.delete(path, params={"descendants": "true"}, headers=headers)
    assert taken.status_code == 200
    assert [credential["id"] for credential in taken.json()["data"] if credential["revokedAt"] is not None] == made
    for key in (child, sibling, grandchild):
        assert not await works(minting, key["key"])
    nothing = await minting.client.delete(path, params={"descendants": "true"}, headers=headers)
    assert (nothing.status_code, nothing.json()["code"]) == (404, "key_not_found")
    assert await works(minting, headers["X-API-Key"])
    assert (await minting.client.get(KEYS, headers={"X-API-Key": other["key"]})).status_code == 200


async def test_a_tenants_admin_takes_back_nothing_of_anothers_or_the_platforms(minting):
    platform, admin, other, child, grandchild = await line(minting)
    headers = {"X-API-Key": other["key"]}
    for key_id in (id_of(platform), admin["id"], child["id"], grandchild["id"], "unknown"):
        for descendants in ("true", "false"):
            answer = await minting.client.delete(
                f"{KEYS}/{key_id}", params={"descendants": descendants}, headers=headers
            )
            assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")
    await minting.services.access.revoke_key(None, id_of(platform))
    answer = await minting.client.delete(f"{KEYS}/{id_of(platform)}?descendants=true", headers=headers)
    assert answer.status_code == 404
    for key in (admin, child):
        assert await works(minting, key["key"])


async def test_what_a_platforms_key_made_is_taken_along_in_every_tenant(minting):
    platform = (await line(minting))[0]
    by_hand = await minting.key("admin")
    access = minting.services.access
    assert len(await access.descendants(None, id_of(platform), None, 100)) == 4
    await access.revoke_key(None, id_of(platform), descendants=True)
    for tenant in (TENANT, "other"):
        for credential in await access.keys(tenant, None, 100):
            assert (credential.revoked_at is None) == (credential.id == id_of(by_hand))
    with pytest.raises(KeyNotFound):
        await access.revoke_key(None, id_of(platform), descendants=True)


async def test_more_keys_than_one_statement_takes_are_all_taken_along(minting, monkeypatch):
    monkeypatch.setattr(descent, "AT_ONCE", 3)
    access = minting.services.access
    parent = id_of(await minting.key("admin"))
    for _ in range(8):
        await access.create_key(TENANT, "viewer", minted_by=parent)
    await access.revoke_key(TENANT, parent, descendants=True)
    assert [credential for credential in await access.keys(TENANT, None, 100) if credential.revoked_at is None] == []


async def test_a_key_that_has_ended_makes_none_though_its_call_was_let_in(minting):
    access = minting.services.access
    revoked, expired = await minting.key("admin"), await minting.key("admin", expires_at=minting.clock() + time.SECOND)
    await access.revoke_key(TENANT, id_of(revoked))
    minting.clock.advance(1)
    for key in (id_of(revoked), id_of(expired), "unknown", ""):
        with pytest.raises(Unauthenticated):
            await access.create_key(TENANT, "viewer", minted_by=key)
    assert len(await access.keys(TENANT, None, 100)) == 2


async def test_a_revocation_reaches_keys_minted_at_the_same_time(minting):
    access = minting.services.access

    async def chain(minter, several):
        """Make keys by keys, until a key is refused."""
        for number in range(200):
            minter = (await access.create_key(TENANT, "admin", minted_by=minter)).credential.id
            if number == 2:
                several.set()

    for _ in range(3):
        parent = id_of(await minting.key("admin"))
        begun = [asyncio.Event() for _ in range(4)]
        chains = [asyncio.create_task(chain(parent, several)) for several in begun]
        for several in begun:
            await several.wait()
        await access.revoke_key(TENANT, parent, descendants=True)
        results = await asyncio.gather(*chains, return_exceptions=True)
        assert {type(result) for result in results} == {Unauthenticated}
        made = await access.descendants(TENANT, parent, None, 1_000)
        assert len(made) >= 12
        assert [credential for credential in made if credential.revoked_at is None] == []
