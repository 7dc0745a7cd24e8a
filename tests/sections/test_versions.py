"""A section whose schema or rendering changes: old facts are brought forward, old documents rendered anew."""

import apsw
import pytest

from harness import TENANT, service

FIRST = '''
from typing import Annotated
from portrait import Record, Text, impersonal, register_profile_section

@register_profile_section("badges", key=("badge_id",))
class Badge(Record, frozen=True):
    """Badges."""
    badge_id: Annotated[Text, impersonal]
    title: Annotated[Text, impersonal]
'''
SECOND = '''
from typing import Annotated
from portrait import Record, Text, impersonal, register_profile_section

def upgrade(version, body):
    assert version == 1
    return {"badgeId": body["badgeId"], "name": body["title"], "level": 1}

@register_profile_section("badges", key=("badge_id",), version=2, upgrade=upgrade)
class Badge(Record, frozen=True):
    """Badges."""
    badge_id: Annotated[Text, impersonal]
    name: Annotated[Text, impersonal]
    level: Annotated[int, impersonal] = 1
'''
OLD, NEW = {"badgeId": "b1", "title": "First"}, {"badgeId": "b1", "name": "First", "level": 1}


def stored(tmp_path):
    """Return the version and body of the stored document."""
    with apsw.Connection(str(tmp_path / "portrait.db")) as connection:
        return connection.execute("SELECT version, body FROM documents WHERE section = 'badges'").fetchone()


@pytest.fixture
async def upgraded(tmp_path):
    """A service whose section is of version 2, over a database that version 1 has written."""
    plugin = tmp_path / "badges.py"
    plugin.write_text(FIRST)
    async with service(tmp_path, plugins=(str(plugin),)) as running:
        await running.recorded("badges", OLD)
        assert await running.section("badges") == [OLD]
    plugin.write_text(SECOND)
    async with service(tmp_path, clock=running.clock, plugins=(str(plugin),), tenants=()) as running:
        running.client.headers["X-Tenant-Id"] = TENANT
        yield running


async def test_an_old_document_is_rendered_anew_when_read_and_reading_writes_nothing(upgraded, tmp_path):
    before = stored(tmp_path)
    assert before[0] == 1
    assert await upgraded.section("badges") == [NEW]
    assert stored(tmp_path) == before


async def test_an_old_fact_is_listed_in_the_new_form(upgraded):
    assert [stored_record["record"] for stored_record in (await upgraded.listed("badges"))["data"]] == [NEW]


async def test_refresh_renders_anew_the_old_documents_that_were_read(upgraded, tmp_path):
    await upgraded.section("badges")
    assert await upgraded.services.upkeep.refresh() == 1
    version, body = stored(tmp_path)
    assert version == 2
    assert body == b'[{"badgeId":"b1","name":"First","level":1}]'


async def test_a_write_brings_the_whole_state_forward(upgraded, tmp_path):
    await upgraded.recorded("badges", {"badgeId": "b2", "name": "Second", "level": 3})
    assert stored(tmp_path)[0] == 2
    assert {badge["badgeId"]: badge["level"] for badge in await upgraded.section("badges")} == {"b1": 1, "b2": 3}
    await upgraded.checked()


async def test_a_record_equal_to_an_old_one_brought_forward_is_a_duplicate(upgraded):
    assert await upgraded.recorded("badges", NEW) == {"recorded": 0, "duplicates": 1}


async def test_the_check_reports_no_difference_in_rows_of_older_code(upgraded):
    await upgraded.checked()


async def test_a_rebuild_leaves_documents_and_states_of_the_new_version(upgraded, tmp_path):
    await upgraded.services.upkeep.rebuild()
    assert stored(tmp_path)[0] == 2
    assert await upgraded.section("badges") == [NEW]
    await upgraded.checked()
