"""A PostgreSQL server's databases, from outside."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg


def database_url(server, name):
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def administer(server, *statements):
    async def run():
        connection = await asyncpg.connect(server)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
