"""When a key was used last."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Forward only: a newer schema is never taken back. Of keys that are there already it is not known."""
    op.add_column("credentials", sa.Column("last_used_at", sa.BigInteger, nullable=True))
