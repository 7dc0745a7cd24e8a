"""Room on each page of PostgreSQL's for the rows that every record writes anew."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forward only: a newer schema is never taken back. Pages that are full already stay so."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE states SET (fillfactor = 75)")
        op.execute("ALTER TABLE documents SET (fillfactor = 75)")
