"""What Alembic runs to write a migration's SQL."""

from alembic import context

from portrait.storage.migrations import VERSION_TABLE

context.configure(
    dialect_name=context.config.attributes["dialect"],
    version_table=VERSION_TABLE,
    literal_binds=True,
    transactional_ddl=False,  # the engine opens the transaction that all of it runs in
)
context.run_migrations()
