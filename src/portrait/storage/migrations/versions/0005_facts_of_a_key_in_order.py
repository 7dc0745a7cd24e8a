"""Facts of a key in their whole order: a page of them is read without those of the same moment that it leaves out."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Forward only: a newer schema is never taken back."""
    op.drop_index("facts_by_key", "facts")
    op.create_index("facts_by_key", "facts", ["tenant", "type", "value", "section", "key", "effective_at", "id"])
