"""What the tests of storage share: a new SQLite database, open."""

import pytest

from portrait.storage import sqlite

pytest.register_assert_rewrite("portrait.storage.conformance")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "portrait.db"


@pytest.fixture
async def store(path):
    opened = sqlite.open_store(path)
    yield opened
    await opened.close()
