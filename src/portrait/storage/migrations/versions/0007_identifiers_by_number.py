"""On SQLite what repeats in every row stands once and has a number: identifiers, names of sections and sources.

Facts stand once, in the order of their key, and rows of one customer's identifiers beside each other.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"
rewrites = True

SLICES = 50
"""Rows are copied in so many statements: what shows how far it is counts them."""
_BY_IDENTIFIER = (
    "FROM numbered_identifiers i CROSS JOIN {} t ON t.tenant = i.tenant AND t.type = i.type AND t.value = i.value"
    " CROSS JOIN names s ON s.name = t.section"
)


def upgrade() -> None:
    """Forward only: a newer schema is never taken back. PostgreSQL keeps its tables."""
    if context.get_context().dialect.name != "sqlite":
        return
    _create()
    # Whoever reads names and identifiers by number reads facts in the order of their new key: nothing is sorted.
    op.execute(
        "INSERT INTO names (name) SELECT section FROM facts UNION SELECT section FROM states"
        " UNION SELECT source FROM facts WHERE source IS NOT NULL ORDER BY 1"
    )
    op.execute(
        "INSERT INTO numbered_identifiers (tenant, type, value, customer_id)"
        " SELECT k.tenant, k.type, k.value, i.customer_id FROM (SELECT tenant, type, value FROM identifiers"
        " UNION SELECT tenant, type, value FROM facts UNION SELECT tenant, type, value FROM states) k"
        " LEFT JOIN identifiers i ON i.tenant = k.tenant AND i.type = k.type AND i.value = k.value"
        " ORDER BY k.tenant, coalesce(i.customer_id, k.value), k.type, k.value"
    )
    for number in range(SLICES):
        part = (
            f"i.number > (SELECT max(number) FROM numbered_identifiers) * {number} / {SLICES}"
            f" AND i.number <= (SELECT max(number) FROM numbered_identifiers) * {number + 1} / {SLICES}"
        )
        op.execute(
            "INSERT INTO numbered_facts SELECT i.number, s.number, t.effective_at, t.id, t.key, t.op = 'delete',"
            " t.recorded_at, o.number, t.version, t.body"
            f" {_BY_IDENTIFIER.format('facts')} LEFT JOIN names o ON o.name = t.source WHERE {part}"
        )
        op.execute(
            "INSERT INTO numbered_states SELECT i.number, s.number, t.version, t.body"
            f" {_BY_IDENTIFIER.format('states')} WHERE {part}"
        )
    for table in ("facts", "states", "identifiers"):
        op.drop_table(table)
        op.rename_table(f"numbered_{table}", table)


def _create() -> None:
    op.drop_index("facts_by_key", "facts")
    op.drop_index("identifiers_by_customer", "identifiers")
    op.create_table(
        "names",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "numbered_identifiers",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("tenant", "type", "value"),
    )
    op.create_index("identifiers_by_customer", "numbered_identifiers", ["tenant", "customer_id"])
    op.create_table(
        "numbered_facts",
        sa.Column("identifier", sa.Integer, nullable=False),
        sa.Column("section", sa.Integer, nullable=False),
        sa.Column("effective_at", sa.BigInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("is_end", sa.Boolean, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Integer, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("identifier", "section", "effective_at", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("facts_by_key", "numbered_facts", ["identifier", "section", "key", "effective_at", "id", "is_end"])
    op.create_table(
        "numbered_states",
        sa.Column("identifier", sa.Integer, nullable=False),
        sa.Column("section", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("identifier", "section"),
    )
