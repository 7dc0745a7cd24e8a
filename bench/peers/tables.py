"""The tables that peers on PostgreSQL answer from, one for each section and one of customers, with the population."""

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.population import SECTIONS, TENANT, customer_id, records

TABLES = dict(zip(SECTIONS, (*SECTIONS[:-1], "consents"), strict=True))
"""Each section's table."""

SCHEMA = """
CREATE TABLE customers (
    tenant_id text NOT NULL, id text NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE TABLE identities (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    type text NOT NULL, value text NOT NULL, confidence double precision NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, type, value));
CREATE TABLE interactions (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    id text NOT NULL, offer_id text, channel_id text, interaction_type text NOT NULL,
    timestamp timestamptz NOT NULL, value double precision,
    PRIMARY KEY (tenant_id, id));
CREATE INDEX ON interactions (tenant_id, customer_id, timestamp DESC, id DESC);
CREATE TABLE segments (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    segment_id text NOT NULL, segment_name text NOT NULL, member_since timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, segment_id));
CREATE TABLE journeys (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    journey_id text NOT NULL, journey_name text NOT NULL, status text NOT NULL, current_step text,
    enrolled_at timestamptz NOT NULL, completed_at timestamptz,
    PRIMARY KEY (tenant_id, customer_id, journey_id, enrolled_at));
CREATE TABLE experiments (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    experiment_id text NOT NULL, experiment_name text NOT NULL, variant text NOT NULL, assigned_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, experiment_id));
CREATE TABLE consents (
    tenant_id text NOT NULL, customer_id text NOT NULL,
    kind text NOT NULL, purpose text NOT NULL, channel text NOT NULL, status text NOT NULL,
    granted_at timestamptz, revoked_at timestamptz, source text,
    PRIMARY KEY (tenant_id, customer_id, kind, purpose, channel));
"""

RELATIONS = "".join(
    f"ALTER TABLE {table} ADD FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id);\n"
    for table in TABLES.values()
)


def database_url(server: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def new_database(server: str, name: str) -> str:
    """Make a database anew, dropping one of that name, and return its URL."""

    async def make() -> None:
        connection = await asyncpg.connect(server)
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        finally:
            await connection.close()

    asyncio.run(make())
    return database_url(server, name)


def fill(url: str, customers: int) -> None:
    """Make the tables in an empty database, and copy so many customers' records into them."""

    async def copy() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(SCHEMA)
            known = ((TENANT, customer_id(index)) for index in range(customers))
            await connection.copy_records_to_table("customers", records=known, columns=["tenant_id", "id"])
            for section, table in TABLES.items():
                rows = _rows(section, customers)
                columns = ["tenant_id", "customer_id", *map(_column, records(0)[section][0])]
                await connection.copy_records_to_table(table, records=rows, columns=columns)
            await connection.execute(RELATIONS)
        finally:
            await connection.close()

    asyncio.run(copy())
    settle(url)


def settle(url: str) -> None:
    """Vacuum and analyse a database that was just filled, so that the server has nothing left to do for it."""

    async def vacuum() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("VACUUM (FREEZE, ANALYZE)")
        finally:
            await connection.close()

    asyncio.run(vacuum())


def _rows(section: str, customers: int) -> Iterator[tuple[Any, ...]]:
    for index in range(customers):
        for record in records(index)[section]:
            yield TENANT, customer_id(index), *(_value(name, value) for name, value in record.items())


def _column(name: str) -> str:
    """Return a field's name as a column's: `offerId` is `offer_id`."""
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _value(name: str, value: Any) -> Any:
    """Return a field's value as its column holds it."""
    if value is not None and (name.endswith("At") or name in {"timestamp", "memberSince"}):
        return datetime.fromisoformat(value)
    return value
