"""What the tests of storage share: a new SQLite file, open."""

import pytest

from portrait.storage.sqlite import open_store

pytest.register_assert_rewrite("portrait.storage.conformance")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "portrait.db"


@pytest.fixture
async def store(path):
    opened = open_store(path)
    yield opened
    await opened.close()
