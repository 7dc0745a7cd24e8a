import pytest


@pytest.fixture
def operations():
    """Give the operations of a service's application."""
    return lambda running: running.client._transport.app.operations
