"""What clients send: keys that only write, as a named source; tenants' rules for it; and events that were refused."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Forward only: a newer schema is never taken back. No key that is there already is a write key."""
    op.add_column("tenants", sa.Column("collecting_rules", sa.LargeBinary, nullable=True))
    op.add_column("credentials", sa.Column("write_grant", sa.LargeBinary, nullable=True))
    op.create_table(
        "rejects",
        sa.Column("tenant", _text(), nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("source", _text(), nullable=False),
        sa.Column("form", _text(), nullable=False),
        sa.Column("code", _text(), nullable=False),
        sa.Column("detail", _text(), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("identifiers", _text(), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("rejects_by_age", "rejects", ["received_at"])
    op.create_table(
        "rejected_identifiers",
        sa.Column("tenant", _text(), nullable=False),
        sa.Column("type", _text(), nullable=False),
        sa.Column("value", _text(), nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "type", "value", "id"),
    )
