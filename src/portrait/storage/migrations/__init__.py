"""Migrations: Alembic revisions, written as SQL for the engine to run in one transaction of its own driver.

Alembic's own connections would go through the interpreter's SQLite and not the engine's; as a writer of SQL it serves
every engine alike, and a kill in mid-migration leaves the database as it was.
"""

import io
from pathlib import Path

LATEST = "0001"
"""The revision that this code needs. A test holds it to the newest file in `versions/`."""

VERSION_TABLE = "alembic_version"


def pending(dialect: str, current: str | None) -> str | None:
    """Return the SQL that leads from a revision (None: an empty database) to `LATEST`; None where there is no way.

    There is none from a revision that this code does not know: one of a newer version.
    """
    # Alembic and SQLAlchemy take most of a second to import: only a start that migrates pays for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    written = io.StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["dialect"] = dialect
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        return None
    command.upgrade(config, f"{current}:{LATEST}" if current else LATEST, sql=True)
    return written.getvalue()
