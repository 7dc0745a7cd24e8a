"""Damage to derived rows is reported by the check and put right by the rebuild, from the facts alone."""

import apsw
import pytest

from harness import TENANT, interaction, service

SEGMENT = {"segmentId": "s1", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}
NAMED = "(SELECT number FROM names WHERE name = '{}')"
DAMAGE = {
    "a document's body": (
        "document segments different",
        "UPDATE documents SET body = x'5b5d' WHERE section = 'segments'",
    ),
    "a document's hash": (
        "document segments different",
        "UPDATE documents SET hash = x'00' WHERE section = 'segments'",
    ),
    "a document's end": (
        "document segments different",
        "UPDATE documents SET valid_until = 9000000000000000 WHERE section = 'segments'",
    ),
    "a document gone": (
        "document interactions missing",
        "DELETE FROM documents WHERE section = 'interactions'",
    ),
    "a document too many": (
        "document experiments unfounded",
        (
            "INSERT INTO documents SELECT tenant, customer_id, 'experiments', hash, valid_until, version, body"
            " FROM documents WHERE section = 'segments'"
        ),
    ),
    "a head gone": (
        "head  missing",
        "DELETE FROM documents WHERE section = ''",
    ),
    "a head of another": (
        "head  different",
        (
            "UPDATE documents SET body = (SELECT body FROM documents WHERE customer_id = 'c2' AND section = '')"
            " WHERE section = '' AND customer_id = 'c1'"
        ),
    ),
    "a head that is no head": (
        "head  different",
        "UPDATE documents SET body = x'c1' WHERE section = ''",
    ),
    "a state gone": (
        "state segments missing",
        f"DELETE FROM states WHERE section = {NAMED.format('segments')}",
    ),
    "a state of another section": (
        "state segments different",
        (
            f"UPDATE states SET body = (SELECT body FROM states s WHERE s.section = {NAMED.format('interactions')}"
            f" AND s.identifier = states.identifier) WHERE section = {NAMED.format('segments')}"
        ),
    ),
    "a state that is no state": (
        "state segments different",
        f"UPDATE states SET body = x'c1' WHERE section = {NAMED.format('segments')}",
    ),
    "a state too many": (
        "state experiments unfounded",
        (
            "INSERT INTO names (name) VALUES ('experiments');"
            f"INSERT INTO states SELECT identifier, {NAMED.format('experiments')}, version, body FROM states"
            f" WHERE section = {NAMED.format('segments')}"
        ),
    ),
    "an identifier gone": (
        "identifier",
        "UPDATE identifiers SET customer_id = NULL WHERE value = 'c1'",
    ),
    "an identifier of another": (
        "identifier",
        "UPDATE identifiers SET customer_id = 'c2' WHERE value = 'c1'",
    ),
    "an identifier too many": (
        "identifier",
        (
            "INSERT INTO identifiers (tenant, type, value, customer_id)"
            " SELECT tenant, 'email', 'a@example.com', customer_id FROM identifiers WHERE value = 'c1'"
        ),
    ),
    "a customer without facts": (
        "document segments unfounded",
        (
            "INSERT INTO documents SELECT tenant, 'ghost', section, hash, valid_until, version, body FROM documents"
            " WHERE customer_id = 'c1'"
        ),
    ),
    "an identifier without facts": (
        "identifier",
        (
            "INSERT INTO identifiers (tenant, type, value, customer_id)"
            " SELECT tenant, type, 'ghost', 'ghost' FROM identifiers WHERE value = 'c1'"
        ),
    ),
    "a state without facts": (
        "state segments unfounded",
        (
            "INSERT INTO identifiers (tenant, type, value)"
            " SELECT tenant, type, 'ghost' FROM identifiers WHERE value = 'c1';"
            "INSERT INTO states SELECT (SELECT number FROM identifiers WHERE value = 'ghost'), section, version, body"
            " FROM states WHERE identifier = (SELECT number FROM identifiers WHERE value = 'c1')"
        ),
    ),
}


def rows(database):
    """Return all derived rows."""
    with apsw.Connection(str(database)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)
            for table in ("documents", "states", "identifiers WHERE customer_id IS NOT NULL")
        }


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path) as opened:
        for customer_id in ("c1", "c2"):
            await opened.recorded("segments", SEGMENT, customer_id)
            await opened.recorded("interactions", [interaction(1), interaction(2)], customer_id)
        opened.clock.advance(1)
        yield opened


@pytest.mark.parametrize(("expected", "sql"), DAMAGE.values(), ids=DAMAGE)
async def test_damage_is_reported_and_put_right(running, tmp_path, expected, sql):
    database = tmp_path / "portrait.db"
    sound = rows(database)
    with apsw.Connection(str(database)) as connection:
        connection.execute(sql).fetchall()
    damaged = rows(database)
    assert damaged != sound

    def named(report):
        return any(
            difference.tenant == TENANT
            and f"{difference.kind} {difference.section} {difference.reason}".startswith(expected)
            for difference in report.differences
        )

    assert named(await running.services.upkeep.check())
    assert rows(database) == damaged
    assert named(await running.services.upkeep.rebuild())
    assert rows(database) == sound
    await running.checked()


async def test_everything_derived_can_be_thrown_away_and_comes_back_byte_for_byte(running, tmp_path):
    database = tmp_path / "portrait.db"
    sound = rows(database)
    with apsw.Connection(str(database)) as connection:
        connection.execute(
            "DELETE FROM documents; DELETE FROM states; UPDATE identifiers SET customer_id = NULL"
        ).fetchall()
    assert (await running.profile("c1")).status_code == 404
    assert (await running.services.upkeep.rebuild()).customers == 2
    assert rows(database) == sound


async def test_facts_of_no_identifier_are_a_fault(running, tmp_path):
    with apsw.Connection(str(tmp_path / "portrait.db")) as connection:
        connection.execute("DELETE FROM identifiers WHERE value = 'c1'")
    assert (await running.services.upkeep.check()).faults == ["3 facts refer to identifiers that are not there"]


async def test_a_check_counts_customers_and_facts(running):
    report = await running.services.upkeep.check()
    assert (report.customers, report.facts, report.differences, report.faults) == (2, 6, [], [])
