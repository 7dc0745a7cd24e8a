"""A PostgreSQL database that cannot serve is refused at the start: soon, in one line that names the fault and the
remedy, and never with the password; a busy one refuses requests alone.
"""

import asyncio
import contextlib
import re
import socket
import subprocess
import threading
import time
import uuid
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
import pytest

from databases import administer
from harness import TENANT, command, interaction, portrait, server
from own_server import OwnServer
from portrait.model.errors import DatabaseRefused
from portrait.storage import postgres
from portrait.storage.postgres import connection

DEADLINE = 15.0
SECRET = "hunter2-Zq9"
ODD = "p@ss:w/rd?hunter2-Zq9#%&="
"""A password that must be written with percents in a URL."""


def refused(url, *words):
    """Return the line in which a start is refused, after asserting that it comes soon and names no password.

    A machine that is busy with something else gets three tries to be soon.
    """
    for _ in range(3):
        begun = time.monotonic()
        process = subprocess.Popen(
            command(*(words or ("serve", "--port", "0")), "--database", url),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            output, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"it was not refused: {errors}") from None
        for secret in (SECRET, ODD, quote(ODD, safe=""), "hunter2"):
            assert secret not in output + errors
        assert process.returncode == 1, errors
        assert output == ""
        assert re.fullmatch(r"portrait: [^\n]+\.\n", errors), errors
        assert urlsplit(url).path.lstrip("/") in errors
        took = time.monotonic() - begun
        if took < DEADLINE:
            return errors
    raise AssertionError(f"it was refused late: {took:.1f} s")


def test_a_name_server_that_does_not_answer_is_waited_for_no_longer_than_a_server(monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(connection.socket, "getaddrinfo", lambda *_: asked.wait(60))
    with pytest.raises(DatabaseRefused, match=r"user@db\.internal/name is not found: no name server answers"):
        postgres.open_store(f"postgresql://user:{SECRET}@db.internal/name")
    asked.set()


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("postgresql://u@one:5432,two/d", ["one", "two"]),
        ("postgresql://u@%2Frun%2Fpostgresql/d", []),
        ("postgresql://u@[::1]:5432/d", []),
        ("postgresql:///d?host=one,/run/postgresql", []),
        ("postgresql:///d?host=one", ["one"]),
        ("postgresql:///d", []),
    ],
)
def test_the_names_that_are_looked_up_are_those_of_servers(url, names, monkeypatch):
    monkeypatch.delenv("PGHOST", raising=False)
    assert connection._names(url) == names


PASSWORDS = pytest.mark.parametrize("password", [SECRET, ODD], ids=["plain", "odd"])


@PASSWORDS
def test_a_server_that_is_not_there_is_refused(password):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = refused(f"postgresql://user:{quote(password, safe='')}@127.0.0.1:{port}/name")
    assert "cannot be reached. Check that the server runs, and the address and port" in message


def test_a_socket_that_is_not_there_is_refused(tmp_path):
    message = refused(f"postgresql://user:{SECRET}@/name?host={tmp_path}")
    assert "cannot be reached. Check that the server runs" in message


def test_a_name_that_nobody_knows_is_refused():
    assert "cannot be reached. Check that" in refused(f"postgresql://user:{SECRET}@nowhere.invalid/name")


@PASSWORDS
def test_a_server_that_takes_connections_and_says_nothing_is_refused(password):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        message = refused(f"postgresql://user:{quote(password, safe='')}@127.0.0.1:{port}/name")
    assert "does not answer within" in message
    assert "Check the address and the network" in message


@pytest.mark.parametrize("part", ["?password=", "?user=user&password="])
def test_a_password_among_the_options_is_not_shown(part):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "cannot be reached" in refused(f"postgresql://127.0.0.1:{port}/name{part}{SECRET}")


@pytest.mark.parametrize("address", ["127.0.0.1:many", "127.0.0.1:99999", "127.0.0.1:-5", "127.0.0.1:1,"])
def test_an_invalid_host_or_port_is_refused(address):
    assert "is not a URL that can be used" in refused(f"postgresql://user:{SECRET}@{address}/name")


def test_a_server_that_ends_the_connection_at_once_is_not_reached():
    with socket.create_server(("127.0.0.1", 0)) as ending:

        def end():
            for _ in range(3):
                with contextlib.suppress(OSError):
                    ending.accept()[0].close()

        threading.Thread(target=end, daemon=True).start()
        message = refused(f"postgresql://user:{SECRET}@127.0.0.1:{ending.getsockname()[1]}/name")
        ending.shutdown(socket.SHUT_RDWR)
    assert "TLS" not in message


def test_a_server_without_tls_is_refused_where_that_is_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer():
            for _ in range(3):
                with contextlib.suppress(OSError), plain.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(b"N")

        threading.Thread(target=answer, daemon=True).start()
        port = plain.getsockname()[1]
        message = refused(f"postgresql://user:{SECRET}@127.0.0.1:{port}/name?sslmode=require")
        plain.shutdown(socket.SHUT_RDWR)
    assert "does not speak TLS, which sslmode asks for" in message


@pytest.fixture(scope="module")
def strict():
    """A server that wants a password of everybody but its owner."""
    server = OwnServer()
    rules = "local all postgres trust\nlocal replication postgres trust\nlocal all all scram-sha-256\n"
    (server.data / "pg_hba.conf").write_text(rules)
    administer(server.url(), "SELECT pg_reload_conf()")
    yield server
    server.end()


@pytest.fixture
def database(strict):
    """The name of a database that has the schema."""
    name = f"portrait_{uuid.uuid4().hex}"
    administer(strict.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    asyncio.run(postgres.open_store(strict.url(name), upgrade=True).close())
    yield name
    administer(strict.url(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def role(strict):
    """The name of a role that may log in, with the odd password, and nothing else."""
    name = f"user_{uuid.uuid4().hex}"
    administer(strict.url(), f"CREATE ROLE {name} LOGIN PASSWORD '{ODD}'")
    return name


def login(role, password=ODD):
    return f"{role}:{quote(password, safe='')}"


RIGHTS = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO"


def test_a_role_with_the_rights_that_are_asked_for_can_serve(strict, database, role):
    administer(strict.url(database), f"{RIGHTS} {role}")
    where = strict.url(database, login(role))
    made = portrait("tenant", "create", TENANT, "--database", where)
    assert made.returncode == 0, made.stderr
    with server(None, "--auth", "open", "--database", where) as (url, _):
        path = f"{url}/api/v1/customers/c1/interactions"
        for number in range(1, 3):
            answer = httpx.post(path, json=interaction(number), headers={"X-Tenant-Id": TENANT})
            assert answer.status_code == 201, answer.text
    assert portrait("db", "check", "--database", where).returncode == 0


@PASSWORDS
def test_a_wrong_password_is_refused(strict, database, role, password):
    message = refused(strict.url(database, login(role, password + "x")))
    assert "refuses the user or the password. Check both" in message


def test_no_password_where_one_is_wanted_is_refused(strict, database, role):
    assert "refuses the user or the password. Check both" in refused(strict.url(database, role))


def test_a_user_that_does_not_exist_is_refused(strict, database):
    assert "refuses the user or the password. Check both" in refused(strict.url(database, f"nobody:{SECRET}"))


def test_a_user_that_no_rule_lets_in_is_refused(strict, database, role):
    rules = strict.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {role} reject\n{before}")
    administer(strict.url(), "SELECT pg_reload_conf()")
    try:
        assert "refuses the user or the password. Check both" in refused(strict.url(database, login(role)))
    finally:
        rules.write_text(before)
        administer(strict.url(), "SELECT pg_reload_conf()")


def test_a_database_that_is_not_there_is_refused(strict, role):
    message = refused(strict.url("never_made", login(role)))
    assert "has no such database. Create it, or name another" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_session_attrs": "standby"}, "does not match target_session_attrs"),
        ({"nonsense": "1"}, "does not know an option that the URL gives"),
    ],
)
def test_an_option_that_cannot_be_is_refused(strict, database, role, options, message):
    assert message in refused(strict.url(database, login(role), **options))


def test_a_table_that_was_dropped_is_refused(strict, database, role):
    administer(strict.url(database), "DROP TABLE states")
    assert "lacks a table of Portrait's" in refused(strict.url(database))


def test_a_database_that_takes_no_connections_is_refused(strict, database):
    administer(strict.url(), f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    assert "takes no connections to this database" in refused(strict.url(database))


async def test_a_table_that_somebody_holds_is_waited_for_no_longer_than_a_server(strict, database):
    holder = await asyncpg.connect(strict.url(database))
    async with holder.transaction():
        await holder.execute("LOCK TABLE alembic_version")
        message = await asyncio.to_thread(refused, strict.url(database))
    await holder.close()
    assert "did not let this start finish within" in message


def test_a_role_that_may_not_connect_is_refused(strict, database, role):
    administer(strict.url(), f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    message = refused(strict.url(database, login(role)))
    assert "too few rights" in message
    assert "Grant it" in message


RIGHTLESS = {
    "none": [],
    "reads only": ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO"],
    "the revision only": ["GRANT SELECT ON alembic_version TO"],
    "no deletes": ["GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO"],
    "one table less": [RIGHTS, "REVOKE ALL ON credentials FROM"],
}


@pytest.mark.parametrize("grants", RIGHTLESS.values(), ids=RIGHTLESS)
def test_a_role_without_rights_on_the_tables_is_refused(strict, database, role, grants):
    administer(strict.url(database), *(f"{grant} {role}" for grant in grants))
    message = refused(strict.url(database, login(role)))
    assert "too few rights" in message
    assert "Grant it" in message


def test_a_role_without_a_right_on_the_schema_is_refused(strict, database, role):
    administer(strict.url(database), f"{RIGHTS} {role}", "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    message = refused(strict.url(database, login(role)))
    assert "rights" in message
    assert "Grant it" in message


def test_a_role_that_may_make_no_tables_is_refused_at_the_upgrade(strict, role):
    name = f"portrait_{uuid.uuid4().hex}"
    administer(strict.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    message = refused(strict.url(name, login(role)), "db", "upgrade")
    assert "too few rights" in message
    administer(strict.url(), f"DROP DATABASE {name} WITH (FORCE)")


def test_an_empty_database_is_refused_and_left_empty(strict, role):
    name = f"portrait_{uuid.uuid4().hex}"
    administer(strict.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' OWNER {role}")
    where = strict.url(name, login(role))
    assert "Run `portrait db upgrade` first" in refused(where)
    done = portrait("db", "upgrade", "--database", where)
    assert done.returncode == 0, done.stderr
    assert portrait("db", "check", "--database", where).returncode == 0
    administer(strict.url(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("db", "upgrade")], ids=["serve", "upgrade"])
def test_a_schema_of_a_newer_version_is_refused_and_left_as_it_is(strict, database, role, words):
    administer(strict.url(database), f"{RIGHTS} {role}", "UPDATE alembic_version SET version_num = '9999'")
    message = refused(strict.url(database, login(role)), *words)
    assert re.search(r"written by a newer version .*9999.* Use that version or a later one", message)
    with pytest.raises(DatabaseRefused, match="9999"):
        postgres.open_store(strict.url(database))


def test_a_database_in_another_encoding_is_refused(strict, role):
    name = f"portrait_{uuid.uuid4().hex}"
    administer(strict.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    assert "is not in UTF-8. Create a database with ENCODING 'UTF8'" in refused(strict.url(name, login(role)))
    administer(strict.url(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    "words", [("serve", "--port", "0"), ("db", "upgrade"), ("tenant", "list")], ids=["serve", "upgrade", "list"]
)
@pytest.mark.parametrize("scope", ["DATABASE", "ROLE"])
def test_a_database_that_may_only_be_read_is_refused(strict, database, role, scope, words):
    name = {"DATABASE": database, "ROLE": role}[scope]
    administer(strict.url(database), f"{RIGHTS} {role}", f"ALTER {scope} {name} SET default_transaction_read_only = on")
    assert "is read-only. " in refused(strict.url(database, login(role)), *words)


def test_a_standby_is_refused(strict, database, role):
    """It answers every read, but takes no write: the primary must be named."""
    administer(strict.url(database), f"{RIGHTS} {role}")
    standby = strict.standby()
    try:
        for words in (("serve", "--port", "0"), ("db", "upgrade")):
            assert "is read-only. " in refused(standby.url(database, login(role)), *words)
    finally:
        standby.end()


def test_a_server_that_takes_no_more_connections_is_refused(strict, database, role):
    administer(strict.url(database), f"{RIGHTS} {role}", f"ALTER ROLE {role} CONNECTION LIMIT 0")
    assert "takes no more connections. Raise" in refused(strict.url(database, login(role)))


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
async def test_a_busy_pool_of_one_connection_refuses_others_in_time_and_goes_on(postgres_url, write):
    """A foreign lock blocks the one connection; requests that wait for it are refused, all within one wait."""
    wait = 1.0
    made = await asyncio.to_thread(portrait, "tenant", "create", TENANT, "--database", postgres_url)
    assert made.returncode == 0, made.stderr
    words = ("--auth", "open", "--pool-size", "1", "--busy-seconds", str(wait), "--database", postgres_url)
    path = "/api/v1/customers/c1/interactions"
    with server(None, *words) as (url, _):
        holder = await asyncpg.connect(postgres_url)
        async with httpx.AsyncClient(base_url=url, headers={"X-Tenant-Id": TENANT}, timeout=60) as client:
            assert (await client.post(path, json=interaction(1))).status_code == 201
            # As long as it holds this lock, no statement on documents begins: the one connection waits with it.
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
            begun = time.monotonic()
            first = asyncio.ensure_future(
                client.post(path, json=interaction(2)) if write else client.get("/api/v1/customers/c1/unified-profile")
            )
            async with asyncio.timeout(10):
                while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110  # nor here
                    await asyncio.sleep(0.01)
            others = asyncio.gather(
                *(client.post(path, json=interaction(number)) for number in range(3, 23)),
                *(client.get("/api/v1/customers/c1/unified-profile") for _ in range(20)),
            )
            try:
                answers = await asyncio.wait_for(others, 20)
                took = time.monotonic() - begun
                assert took < 3 * wait + 2, f"each waited for those before it to give up: {took:.1f} s"
                assert {answer.status_code for answer in answers} == {503}
                assert {answer.json()["code"] for answer in answers} <= {"storage_busy", "storage_failed", "overloaded"}
                assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
                assert (await asyncio.wait_for(first, 10)).status_code == 503, "who has the connection waits too"
            finally:
                await transaction.rollback()
                await holder.close()
            again = await asyncio.gather(*(client.post(path, json=interaction(number)) for number in range(30, 34)))
            assert {answer.status_code for answer in again} == {201}
            assert (await client.get("/api/v1/customers/c1/unified-profile")).status_code == 200
            stored_records = (await client.get(path, params={"limit": 100})).json()["data"]
            kept = {stored_record["record"]["id"] for stored_record in stored_records}
            assert {"ih_001", *(f"ih_{number:03}" for number in range(30, 34))} <= kept
            assert kept.isdisjoint({f"ih_{number:03}" for number in range(3, 23)}), "what was refused was kept"
