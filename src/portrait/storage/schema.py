"""The declared schema. Migrations lead to it; a test holds them to it.

On SQLite identifiers, and the names of sections and sources, stand once and have numbers, which facts and states refer
to. Customers' documents, tenants and credentials are the same everywhere.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)


def _key(name: str) -> Column[str]:
    # Text keys compare by bytes everywhere: PostgreSQL needs a collation for it, SQLite does so by itself.
    return Column(name, Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text().with_variant(Text(collation="C"), "postgresql"), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _number(name: str) -> Column[int]:
    """Return a column of a key, which holds the number of an identifier or a name."""
    return Column(name, Integer, primary_key=True, autoincrement=False)


def _postgresql() -> MetaData:
    metadata = MetaData()
    Table(
        "facts",
        metadata,
        _key("tenant"),
        _key("type"),
        _key("value"),
        _key("section"),
        Column("effective_at", BigInteger, primary_key=True),
        Column("id", LargeBinary, primary_key=True),
        _text("key"),
        _text("op"),
        Column("body", LargeBinary, nullable=False),
        _moment("recorded_at"),
        _text("source", nullable=True),
        Column("version", Integer, nullable=False),
        Index("facts_by_key", "tenant", "type", "value", "section", "key", "effective_at", "id"),
    )
    # States and documents are written anew at every record: a row's next version goes to the same page if there is
    # room, and then no index changes.
    Table(
        "states",
        metadata,
        _key("tenant"),
        _key("type"),
        _key("value"),
        _key("section"),
        Column("version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        postgresql_with={"fillfactor": 75},
    )
    Table(
        "identifiers",
        metadata,
        _key("tenant"),
        _key("type"),
        _key("value"),
        _text("customer_id"),
        Index("identifiers_by_customer", "tenant", "customer_id"),
    )
    _add_common(metadata)
    _add_rejects(metadata)
    return metadata


def _sqlite() -> MetaData:
    metadata = MetaData()
    Table("names", metadata, Column("number", Integer, primary_key=True), _text("name"), UniqueConstraint("name"))
    Table(
        "identifiers",
        metadata,
        Column("number", Integer, primary_key=True),
        _text("tenant"),
        _text("type"),
        _text("value"),
        _text("customer_id", nullable=True),
        UniqueConstraint("tenant", "type", "value"),
        Index("identifiers_by_customer", "tenant", "customer_id"),
    )
    Table(
        "facts",
        metadata,
        _number("identifier"),
        _number("section"),
        Column("effective_at", BigInteger, primary_key=True),
        Column("id", LargeBinary, primary_key=True),
        _text("key"),
        Column("is_end", Boolean, nullable=False),
        _moment("recorded_at"),
        Column("source", Integer, nullable=True),
        Column("version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Index("facts_by_key", "identifier", "section", "key", "effective_at", "id", "is_end"),
        sqlite_with_rowid=False,
    )
    # Written anew at every record: a row of a table with row ids stands on one page if it can; of a table in key order
    # it spills from a quarter of a page on, and a search reads all of each row it passes.
    Table(
        "states",
        metadata,
        _number("identifier"),
        _number("section"),
        Column("version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
    )
    _add_common(metadata)
    _add_rejects(metadata)
    return metadata


def _add_common(metadata: MetaData) -> None:
    Table(
        "documents",
        metadata,
        _key("tenant"),
        _key("customer_id"),
        _key("section"),
        # The body comes last: what stands before a long one is read without it.
        Column("hash", LargeBinary, nullable=False),
        _moment("valid_until", nullable=True),
        Column("version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Index("documents_due", "valid_until", sqlite_where=text("valid_until IS NOT NULL"),
              postgresql_where=text("valid_until IS NOT NULL")),
        postgresql_with={"fillfactor": 75},
    )  # fmt: skip
    Table(
        "tenants",
        metadata,
        _key("id"),
        _text("name"),
        _moment("created_at"),
        Column("key_secret", LargeBinary, nullable=False),
        Column("identity_rules", LargeBinary, nullable=True),
        Column("collecting_rules", LargeBinary, nullable=True),
    )

    Table(
        "credentials",
        metadata,
        _key("id"),
        _text("tenant", nullable=True),
        _text("role"),
        _text("name"),
        Column("secret_hash", LargeBinary, nullable=False),
        _text("last_four"),
        _moment("created_at"),
        _moment("expires_at", nullable=True),
        _moment("revoked_at", nullable=True),
        _text("minted_by", nullable=True),
        _moment("last_used_at", nullable=True),
        Column("write_grant", LargeBinary, nullable=True),
        Index("credentials_by_tenant", "tenant", "id"),
        Index("credentials_by_minter", "minted_by"),
    )


def _add_rejects(metadata: MetaData) -> None:
    Table(
        "rejects",
        metadata,
        _key("tenant"),
        Column("id", LargeBinary, primary_key=True),
        _text("source"),
        _text("form"),
        _text("code"),
        _text("detail"),
        _moment("received_at"),
        _text("identifiers"),
        Column("body", LargeBinary, nullable=False),
        Index("rejects_by_age", "received_at"),
    )
    Table(
        "rejected_identifiers",
        metadata,
        _key("tenant"),
        _key("type"),
        _key("value"),
        Column("id", LargeBinary, primary_key=True),
    )


SQLITE, POSTGRESQL = _sqlite(), _postgresql()
