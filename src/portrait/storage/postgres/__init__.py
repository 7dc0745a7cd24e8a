"""The PostgreSQL engine, through asyncpg; Citus is this engine with its tables distributed."""

from portrait.storage.postgres.connection import distribute
from portrait.storage.postgres.store import PostgresStore, open_store

__all__ = ["PostgresStore", "distribute", "open_store"]
