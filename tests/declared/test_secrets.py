"""Secrets: from the environment or a file, to the source, and nowhere else."""

import asyncio
import ssl
import subprocess

import asyncpg
import httpx
import pytest

from declared.conftest import SEGMENT, code_of, section_of
from declared.servers import answer, raw_server
from harness import portrait, server
from portrait.declared import connecting, http_source

SECRET = "hunter2-of-the-shipping-service"
HEADERS = 'headers = {{ Authorization = {{ {where}, prefix = "Bearer " }}, X-Shop = "a" }}'


@pytest.fixture(params=["env", "file"])
def headers(request, tmp_path, monkeypatch):
    """Return headers with a secret, from each place that it may come from."""
    if request.param == "env":
        monkeypatch.setenv("SHIPPING_TOKEN", SECRET)
        return HEADERS.format(where='env = "SHIPPING_TOKEN"')
    (tmp_path / "token").write_text(f"{SECRET}\n")
    return HEADERS.format(where=f'file = "{tmp_path}/token"')


async def test_a_secret_is_sent_to_the_source(over_http, headers):
    async with raw_server(answer([1])) as shipping, over_http(shipping.url, http=headers) as running:
        assert (await section_of(running))["data"] == [1]
        assert f"\r\nAuthorization: Bearer {SECRET}\r\n" in shipping.requests[0]
        assert "\r\nX-Shop: a\r\n" in shipping.requests[0]


async def test_a_secret_that_changes_in_its_file_counts_at_the_next_call(over_http, tmp_path):
    (tmp_path / "token").write_text("first")
    where = HEADERS.format(where=f'file = "{tmp_path}/token"')
    async with raw_server(answer([1])) as shipping, over_http(shipping.url, http=where) as running:
        await section_of(running)
        (tmp_path / "token").write_text("second")
        await section_of(running)
        assert ["first" in shipping.requests[0], "second" in shipping.requests[1]] == [True, True]


@pytest.mark.parametrize(
    "answers", [answer(b"", "500 x"), answer(b"junk"), answer(b"", "302 x", ["Location: /"]), b"x\r\n\r\n"]
)
async def test_a_secret_is_in_no_answer_and_no_log_whatever_fails(over_http, headers, caplog, answers):
    caplog.set_level("DEBUG", "portrait")
    async with raw_server(answers) as shipping, over_http(shipping.url, http=headers) as running:
        code, detail = await code_of(running)
        assert code == "source_failed"
        schema = (await running.client.get("/openapi.json")).text
        for text in (detail, caplog.text, schema, repr(vars(running.services.registry.get("parcels")))):
            assert SECRET not in text
        assert str(shipping.port) not in caplog.text + detail, "no URL is told"


async def test_a_secret_that_is_gone_later_costs_the_section_alone(over_http, tmp_path, caplog):
    (tmp_path / "token").write_text(SECRET)
    where = HEADERS.format(where=f'file = "{tmp_path}/token"')
    async with raw_server(answer([1])) as shipping, over_http(shipping.url, http=where) as running:
        (tmp_path / "token").unlink()
        assert await code_of(running) == ("source_failed", "The source could not be asked.")
        assert shipping.requests == []
    assert "cannot be read: No such file" in caplog.text


FILE = """
[sections.parcels]
description = "Parcels."
timeout = 3
[sections.parcels.http]
url = "http://127.0.0.1:{port}/{{customer_id}}?{{tenant_id}}"
allow_http = true
allow_private = true
headers = {{ Authorization = {{ env = "SHIPPING_TOKEN" }} }}
[sections.loyalty]
description = "Points."
timeout = 3
[sections.loyalty.query]
database = "postgresql://reader@127.0.0.1:9/loyalty?application_name=q"
password = {{ env = "SHIPPING_TOKEN" }}
sql = "SELECT :customer_id, :tenant_id"
"""


def test_commands_print_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SHIPPING_TOKEN", SECRET)
    file = tmp_path / "sources.toml"
    file.write_text(FILE.format(port=9))
    for words in (["settings"], ["sections"]):
        printed = portrait(*words, "--declared", str(file))
        assert printed.returncode == 0, printed.stderr
        assert SECRET not in printed.stdout + printed.stderr
        assert "reader" not in printed.stdout
        assert str(file) in printed.stdout


def test_commands_that_show_no_profile_need_no_secret_and_serving_does(tmp_path):
    file = tmp_path / "sources.toml"
    file.write_text(FILE.format(port=9))
    named = ("--declared", str(file))
    assert portrait("tenant", "create", "shop", *named, database=tmp_path / "p.db").returncode == 0
    refused = portrait("serve", "--port", "0", *named, database=tmp_path / "p.db")
    assert refused.returncode == 1
    assert "[sections.parcels]: http.headers.Authorization: the environment variable SHIPPING_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_running_service_tells_no_secret_at_any_log_level(tmp_path):
    file = tmp_path / "sources.toml"
    lines = []
    async with raw_server(answer([1], headers=["Set-Cookie: hunter2=of-the-answer"])) as shipping:
        file.write_text(FILE.format(port=shipping.port))
        words = ("--declared", str(file), "--auth", "open", "--log-level", "debug")
        assert portrait("tenant", "create", "shop", database=tmp_path / "p.db").returncode == 0
        serving = server(tmp_path / "p.db", *words, env={"SHIPPING_TOKEN": SECRET}, log=lines)
        url, _ = await asyncio.to_thread(serving.__enter__)
        async with httpx.AsyncClient(base_url=url, headers={"X-Tenant-Id": "shop"}) as client:
            await client.post("/api/v1/customers/c1/segments", json=SEGMENT)
            profile = (await client.get("/api/v1/customers/c1/unified-profile")).json()["sections"]
        await asyncio.to_thread(serving.__exit__, None, None, None)
    by_name = {section["name"]: section for section in profile}
    assert by_name["parcels"]["data"] == [1]
    assert by_name["loyalty"]["error"]["code"] == "source_failed"
    log = "".join(lines)
    assert "section loyalty failed" in log
    assert SECRET in shipping.requests[0]
    for secret in (SECRET, "of-the-answer", "reader"):
        assert secret not in log


LOYALTY = """
[sections.loyalty]
description = "Points."
timeout = 3
[sections.loyalty.query]
database = "{url}"
password = {{ env = "LOYALTY_PASSWORD" }}
sql = "SELECT :customer_id AS id, :tenant_id AS tenant"
"""


async def test_a_password_reaches_the_database_and_no_log(declared, postgres_url, monkeypatch, caplog):
    monkeypatch.setenv("LOYALTY_PASSWORD", SECRET)
    given = []

    async def connect(*args, **options):
        password = options["password"]
        given.append(password() if callable(password) else password)
        raise asyncpg.InvalidPasswordError('password authentication failed for user "reader"')

    monkeypatch.setattr(asyncpg.connection, "connect", connect)
    async with declared(LOYALTY.format(url=postgres_url)) as running:
        code, detail = await code_of(running, name="loyalty")
    assert code == "source_failed"
    assert given == [SECRET]
    assert SECRET not in detail + caplog.text
    assert "authentication failed" in caplog.text


CA = """
set -e
cd {directory}
new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
$new -x509 -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority
$new -keyout server.key -out server.csr -subj /CN=shipping.example
printf 'subjectAltName=DNS:shipping.example' > names
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem
"""


@pytest.fixture
def authority(tmp_path):
    """Return the directory of an authority's certificate, and of one of a server's that it signed."""
    made = subprocess.run(["bash", "-c", CA.format(directory=tmp_path)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("no openssl to make certificates with")
    return tmp_path


@pytest.mark.parametrize(
    ("trusted", "host", "outcome"),
    [(True, "shipping.example", [1]), (True, "other.example", "hostname"), (False, "shipping.example", "certificate")],
)
async def test_certificates_are_checked_by_the_name_of_the_url(
    over_http, authority, monkeypatch, caplog, trusted, host, outcome
):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    http_source.trust.cache_clear()
    monkeypatch.setattr(connecting, "resolve", lambda host, port: ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    names = []
    context.sni_callback = lambda socket, name, context: names.append(name)
    try:
        async with raw_server(answer([1]), ssl=context) as shipping:
            url = f"https://{host}:{shipping.port}/{{customer_id}}?{{tenant_id}}"
            async with over_http(url) as running:
                if outcome == [1]:
                    assert (await section_of(running))["data"] == [1]
                    assert f"Host: {host}:{shipping.port}\r\n" in shipping.requests[0]
                else:
                    assert (await code_of(running)) == ("source_failed", "The source cannot be reached.")
                    assert outcome in caplog.text.lower()
                    assert shipping.requests == []
        assert names == [host]
    finally:
        http_source.trust.cache_clear()
