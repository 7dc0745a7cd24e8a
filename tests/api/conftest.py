import pytest

from contract.given import PLUGIN
from harness import service


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
async def running(tmp_path):
    """A service that lets everybody in."""
    async with service(tmp_path) as one:
        yield one


@pytest.fixture
async def extended(tmp_path, plugin):
    """The same, with a plugin's sections."""
    async with service(tmp_path, plugins=(plugin,)) as one:
        yield one


@pytest.fixture
async def guarded(tmp_path, plugin):
    """A service that wants keys, with two tenants and a plugin's sections."""
    async with service(tmp_path, plugins=(plugin,), auth="keys", tenants=("my-tenant", "other")) as one:
        yield one


@pytest.fixture
def operations():
    """Give the operations of a service's application."""
    return lambda running: running.client._transport.app.operations
