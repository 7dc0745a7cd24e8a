import pytest

from contract.given import PLUGIN
from harness import service


@pytest.fixture
async def running(tmp_path):
    async with service(tmp_path) as one:
        yield one


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
async def extended(tmp_path, plugin):
    async with service(tmp_path, plugins=(plugin,)) as one:
        yield one


@pytest.fixture
async def guarded(tmp_path, plugin):
    """A service that wants keys, with two tenants."""
    async with service(tmp_path, plugins=(plugin,), auth="keys", tenants=("my-tenant", "other")) as one:
        yield one
