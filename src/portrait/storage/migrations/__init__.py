"""Migrations: Alembic revisions, written as SQL for the engine to run in one transaction of its own driver.

Alembic's own connections would go through the interpreter's SQLite and not the engine's; as a writer of SQL it serves
every engine alike, and a kill in mid-migration leaves the database as it was.
"""

import io
import logging
from pathlib import Path
from typing import Any, NamedTuple

from portrait.model.errors import DatabaseRefused

LATEST = "0008"
"""The revision that this code needs. A test holds it to the newest file in `versions/`."""

READABLE_FROM = {"postgresql": "0003", "sqlite": "0001"}
"""The oldest revision that an engine reads without an upgrade, in order to tell what that changes. On PostgreSQL: whose
tables of tenants, of facts and of what is derived have the columns of now. On SQLite a copy is upgraded, and read."""

VERSION_TABLE = "alembic_version"
REVISION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608  # a constant
"""Selects the database's revision."""


class Revision(NamedTuple):
    """One step of the schema."""

    name: str
    purpose: str
    """What it is for, in a sentence."""
    rewrites: bool = False
    """Whether it writes all rows anew, on SQLite: then nobody's start does it, but `portrait db upgrade`."""


def needed(
    dialect: str, current: str | None, database: str, *, upgrade: bool | None, reading: bool = False
) -> str | None:
    """Return the SQL that a database needs before it can serve; None where it needs none.

    Args:
        dialect: the engine's name in SQLAlchemy.
        current: the database's revision; None: it has no tables.
        database: what people call the database.
        upgrade: whether it may be changed; None: but for what rewrites it.
        reading: whether it is only read, and may stay at an older revision, from `READABLE_FROM` on.

    Raises:
        DatabaseRefused: it is of a newer version, or of an older one and may not be changed.
    """
    if current == LATEST:
        return None
    if reading and current is not None:
        names = [revision.name for revision in pending_revisions(current)]
        if (oldest := READABLE_FROM[dialect]) in names:
            raise DatabaseRefused(
                f"{database} has a schema ({current}) too old for that: it can be read from {oldest} on."
                " Upgrade a copy of the database, and ask that."
            )
        if names:
            return None
    script = pending(dialect, current)
    if script is None:
        raise DatabaseRefused(
            f"{database} was written by a newer version of Portrait (schema {current}; this version knows up to"
            f" {LATEST}). Use that version or a later one."
        )
    if upgrade is None and current and any(revision.rewrites for revision in pending_revisions(current)):
        raise DatabaseRefused(
            f"{database} has an older schema ({current}), and an upgrade writes all of it anew, with no way back."
            " Back it up, then run `portrait db upgrade`."
        )
    if upgrade is False:
        fault = f"has an older schema ({current})" if current else "has no tables of Portrait's"
        raise DatabaseRefused(f"{database} {fault}. Run `portrait db upgrade` first.")
    return script


def statements(script: str) -> list[str]:
    """Return the statements of a script, one by one."""
    return [statement for part in script.split(";\n") if (statement := part.strip())]


def pending_revisions(current: str) -> list[Revision]:
    """Return the revisions that lead from one to `LATEST`, in order; none from one that this code does not know."""
    scripts = [script for script in _directory(_config()).walk_revisions() if script.revision > current]
    if current not in {script.down_revision for script in scripts}:
        return []
    return [
        Revision(script.revision, script.doc, getattr(script.module, "rewrites", False)) for script in reversed(scripts)
    ]


def pending(dialect: str, current: str | None) -> str | None:
    """Return the SQL that leads from a revision (None: an empty database) to `LATEST`; None where there is no way.

    No way leads from a revision that this code does not know: it is of a newer version.
    """
    written = io.StringIO()
    config = _config(output_buffer=written)
    from alembic import command  # noqa: PLC0415  # see `_config`

    config.attributes["dialect"] = dialect
    known = {script.revision for script in _directory(config).walk_revisions()}
    if current is not None and current not in known:
        return None
    command.upgrade(config, f"{current}:{LATEST}" if current else LATEST, sql=True)
    return written.getvalue()


def _config(**options: Any) -> Any:
    """Return Alembic's view of the migrations."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the command that asked for it prints what it does
    # Alembic and SQLAlchemy take most of a second to import: only a start that migrates pays for it.
    from alembic.config import Config  # noqa: PLC0415

    config = Config(**options)
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _directory(config: Any) -> Any:
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # see `_config`

    return ScriptDirectory.from_config(config)
