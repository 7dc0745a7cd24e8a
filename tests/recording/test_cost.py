"""Work that a record is spared: reads without news, documents that stay as they are. Counted, never timed."""

from inspect import iscoroutinefunction

import pytest

from harness import TENANT, service
from portrait.storage.contract import FactWrites, Reads
from portrait.storage.sqlite.transaction import SqliteTransaction

CALLS = [name for part in (Reads, FactWrites) for name in dir(part) if iscoroutinefunction(getattr(part, name))]
EVENT = {
    "id": "i1", "offerId": "o1", "channelId": "web", "interactionType": "click", "timestamp": "2026-05-01T10:00:00Z"
}  # fmt: skip
SEGMENT = {"segmentId": "s1", "segmentName": "S", "memberSince": "2026-05-01T10:00:00Z"}
DEVICE = {"type": "device_id", "value": "d1"}


async def tell(running, record, section, **named):
    answer = await running.client.post("/api/v1/records", json=[{**named, "section": section, "record": record}])
    assert answer.json()["recorded"] == 1, answer.text


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path) as opened:
        yield opened


@pytest.fixture
def calls(monkeypatch):
    """The calls of a transaction, in order, each with its last argument."""
    made = []

    def spied(name, method):
        async def call(self, *arguments):
            made.append((name, arguments[-1]))
            return await method(self, *arguments)

        return call

    for name in CALLS:
        monkeypatch.setattr(SqliteTransaction, name, spied(name, getattr(SqliteTransaction, name)))
    return made


async def test_a_new_identifier_leaves_the_other_documents_alone(running, calls):
    await running.recorded("segments", SEGMENT)
    await running.recorded("interactions", EVENT)
    calls.clear()
    await running.recorded("identities", DEVICE)
    (documents,) = (changes.documents for name, changes in calls if name == "apply")
    assert {section for _, section in documents} == {"", "identities"}
    assert not {"states_of", "hashes"} & {name for name, _ in calls}
    await running.checked()


async def test_an_identifier_that_had_records_brings_them_along(running, calls):
    await tell(running, SEGMENT, "segments", identifier=DEVICE)
    await running.recorded("interactions", EVENT)
    calls.clear()
    await running.recorded("identities", DEVICE)
    documents = next(changes.documents for name, changes in calls if name == "apply")
    assert {section for _, section in documents} == {"", "identities", "segments", "interactions"}
    await running.checked()


@pytest.mark.parametrize("named", [{"customerId": "c1"}, {"identifier": DEVICE}])
async def test_all_is_read_before_anything_is_put(running, calls, named):
    await running.recorded("identities", DEVICE)
    calls.clear()
    await tell(running, EVENT, "interactions", **named)
    names = [name for name, _ in calls]
    assert names.count("states") == 1  # of all the customer's identifiers
    assert names.index("apply") == len(names) - 1
    await running.checked()


async def test_an_owner_that_was_claimed_is_not_put_again(running, calls):
    await tell(running, EVENT, "interactions", identifier=DEVICE)
    (owners,) = (changes.owners for name, changes in calls if name == "apply")
    assert [identifier.type for identifier in owners] == ["customer_id"]
    assert (await running.services.store.resolve(TENANT, owners)) == owners
    await running.checked()
