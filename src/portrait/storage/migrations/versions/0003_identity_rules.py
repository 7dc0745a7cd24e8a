"""Identity rules: what each tenant lets join, where it is not as by default."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Forward only: a newer schema is never taken back."""
    op.add_column("tenants", sa.Column("identity_rules", sa.LargeBinary, nullable=True))
