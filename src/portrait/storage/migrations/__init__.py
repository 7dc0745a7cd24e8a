"""Migrations: Alembic revisions, written as SQL for the engine to run in one transaction of its own driver.

Alembic's own connections would go through the interpreter's SQLite and not the engine's; as a writer of SQL it serves
every engine alike, and a kill in mid-migration leaves the database as it was.
"""

import io
import logging
from pathlib import Path

from portrait.model.errors import DatabaseRefused

LATEST = "0006"
"""The revision that this code needs. A test holds it to the newest file in `versions/`."""

VERSION_TABLE = "alembic_version"


def needed(dialect: str, current: str | None, database: str, *, upgrade: bool) -> str | None:
    """Return the SQL that a database needs before it can serve; None where it needs none.

    Args:
        dialect: the engine's name in SQLAlchemy.
        current: the database's revision; None: it has no tables.
        database: what people call the database.
        upgrade: whether it may be changed.

    Raises:
        DatabaseRefused: it is of a newer version, or of an older one and may not be changed.
    """
    if current == LATEST:
        return None
    script = pending(dialect, current)
    if script is None:
        raise DatabaseRefused(
            f"{database} was written by a newer version of Portrait (schema {current}; this version knows up to"
            f" {LATEST}). Use that version or a later one."
        )
    if not upgrade:
        fault = f"has an older schema ({current})" if current else "has no tables of Portrait's"
        raise DatabaseRefused(f"{database} {fault}. Run `portrait db upgrade` first.")
    return script


def statements(script: str) -> list[str]:
    """Return the statements of a script, one by one."""
    return [statement for part in script.split(";\n") if (statement := part.strip())]


def pending(dialect: str, current: str | None) -> str | None:
    """Return the SQL that leads from a revision (None: an empty database) to `LATEST`; None where there is no way.

    No way leads from a revision that this code does not know: it is of a newer version.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the command that asked for it prints what it does
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
