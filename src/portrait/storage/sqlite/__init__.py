"""The embedded engine: SQLite through apsw, one writer thread with group commit, reads on the event loop."""

from portrait.storage.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
