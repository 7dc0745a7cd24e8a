"""A commit on SQLite is on the disk, not only in the system's memory."""


async def test_every_connection_waits_for_the_disk_at_a_commit(store):
    for connection in (store._connection, store._writer._connection, store._log._checkpoints._connection):
        assert connection.pragma("synchronous") == 2  # FULL
        assert connection.pragma("journal_mode") == "wal"
