"""What the tests of upkeep share: a service on each engine."""

import pytest

from harness import service


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Return the URL of a new database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/portrait.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
async def opened(database):
    async with service(None, database=database) as running:
        yield running
