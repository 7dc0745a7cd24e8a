"""Facts, and what is derived from them; tenants and credentials."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(name: str, **options: object) -> sa.Column[str]:
    options.setdefault("nullable", False)
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), **options)  # type: ignore[arg-type]  # SQLAlchemy types each option apart


def upgrade() -> None:
    """Forward only: a newer schema is never taken back."""
    op.create_table(
        "facts",
        _text("tenant"),
        _text("type"),
        _text("value"),
        _text("section"),
        sa.Column("effective_at", sa.BigInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        _text("key"),
        _text("op"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        _text("source", nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "type", "value", "section", "effective_at", "id"),
    )
    op.create_index("facts_by_key", "facts", ["tenant", "type", "value", "section", "key", "effective_at"])
    op.create_table(
        "states",
        _text("tenant"),
        _text("type"),
        _text("value"),
        _text("section"),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "type", "value", "section"),
    )
    op.create_table(
        "documents",
        _text("tenant"),
        _text("customer_id"),
        _text("section"),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("valid_until", sa.BigInteger, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "section"),
    )
    timed = sa.text("valid_until IS NOT NULL")
    op.create_index("documents_due", "documents", ["valid_until"], sqlite_where=timed, postgresql_where=timed)
    op.create_table(
        "identifiers",
        _text("tenant"),
        _text("type"),
        _text("value"),
        _text("customer_id"),
        sa.PrimaryKeyConstraint("tenant", "type", "value"),
        sqlite_with_rowid=False,
    )
    op.create_index("identifiers_by_customer", "identifiers", ["tenant", "customer_id"])
    op.create_table(
        "tenants",
        _text("id"),
        _text("name"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("key_secret", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credentials",
        _text("id"),
        _text("tenant", nullable=True),
        _text("role"),
        _text("name"),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        _text("last_four"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=True),
        sa.Column("revoked_at", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("credentials_by_tenant", "credentials", ["tenant", "id"])
