"""Who minted a key: another key, or nobody's, where it was made on the command line."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Forward only: a newer schema is never taken back. Of keys that are there already it is not known."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("credentials", sa.Column("minted_by", text, nullable=True))
    op.create_index("credentials_by_minter", "credentials", ["minted_by"])
