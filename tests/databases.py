"""A PostgreSQL server's databases, from outside."""

import asyncio
import time
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg


def database_url(server, name):
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@contextmanager
def citus_cluster(coordinator, name):
    """Make a database on every server of a cluster; join them as the coordinator's own database joins the servers."""
    workers = asked(coordinator, "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 AND isactive")
    servers = [coordinator, *(server_url(coordinator, *worker) for worker in workers)]
    for server in servers:
        create_database(server, name)
        administer(database_url(server, name), "CREATE EXTENSION citus")
    url = database_url(coordinator, name)
    here = urlsplit(coordinator)
    administer(url, f"SELECT citus_set_coordinator_host('{here.hostname}', {here.port or 5432})")
    for host, port in workers:
        administer(url, f"SELECT citus_add_node('{host}', {port})")
    yield url
    for server in servers:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def create_database(server, name, tries=100):
    """Make a database; another test process may be copying the same template just now."""
    for left in reversed(range(tries)):
        try:
            administer(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        except asyncpg.ObjectInUseError:
            if not left:
                raise
            time.sleep(0.1)
        else:
            return


def server_url(url, host, port):
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}:{port}"))


def asked(server, query):
    async def run():
        connection = await asyncpg.connect(server)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()

    return asyncio.run(run())


def administer(server, *statements):
    async def run():
        connection = await asyncpg.connect(server)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
