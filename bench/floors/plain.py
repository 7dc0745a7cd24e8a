"""A table of facts as the smallest services write it on SQLite: without numbers, what a row says stands in the row."""

import apsw

TABLE = "plain_facts"
_KEY = "tenant, type, value, section"
_MADE = f"""
CREATE TABLE {TABLE} (
    tenant TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL, section TEXT NOT NULL, effective_at BIGINT NOT NULL,
    id BLOB NOT NULL, key TEXT NOT NULL, op TEXT NOT NULL, body BLOB NOT NULL, recorded_at BIGINT NOT NULL, source TEXT,
    version INTEGER NOT NULL, PRIMARY KEY ({_KEY}, effective_at, id)
);
CREATE INDEX {TABLE}_by_key ON {TABLE} ({_KEY}, key, effective_at, id);
"""
SELECTED = (
    "SELECT i.tenant, i.type, i.value, s.name, f.effective_at, f.id, f.key, iif(f.is_end, 'delete', 'put'), f.body,"
    " f.recorded_at, o.name, f.version FROM facts f JOIN identifiers i ON i.number = f.identifier"
    " JOIN names s ON s.number = f.section LEFT JOIN names o ON o.number = f.source"
)
"""Selects Portrait's facts as rows of the table."""


def make(connection: apsw.Connection, *, filled: bool) -> None:
    """Make the table, with all of Portrait's facts or empty."""
    with connection:
        connection.execute(_MADE)
        if filled:
            connection.execute(f"INSERT INTO {TABLE} {SELECTED}")  # of constants
