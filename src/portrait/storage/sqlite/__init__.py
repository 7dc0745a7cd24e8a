"""The embedded engine: SQLite through apsw, one writer thread with group commit, reads on the event loop."""

from portrait.storage.sqlite.connection import Progress, Rewrite, rewrite
from portrait.storage.sqlite.copies import backup, restore
from portrait.storage.sqlite.store import SqliteStore, open_store

__all__ = ["Progress", "Rewrite", "SqliteStore", "backup", "open_store", "restore", "rewrite"]
