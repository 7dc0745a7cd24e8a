"""An answer's head and body go out in one write, and whatever has no body goes out as well."""

import asyncio
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import TENANT, interaction, portrait, server
from portrait.api.wire import _Joining

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Transport:
    """Notes what is written."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.written.append("closed")


def test_a_head_and_its_body_are_one_write_and_a_head_alone_does_not_wait():
    async def scenario():
        below = Transport()
        joining = _Joining(below)
        joining.write(HEAD)
        joining.write(b"{}")
        assert below.written == [HEAD + b"{}"]
        joining.write(HEAD)
        await asyncio.sleep(0)
        assert below.written[1:] == [HEAD]
        joining.write(HEAD)
        joining.close()
        assert below.written[2:] == [HEAD, "closed"]
        await asyncio.sleep(0)
        assert len(below.written) == 4

    asyncio.run(scenario())


@given(st.lists(st.sampled_from([HEAD, b"", b"{}", b"\r\n\r\n", None]), max_size=20))
def test_every_byte_goes_out_in_order(pieces):
    async def scenario():
        below = Transport()
        joining = _Joining(below)
        for piece in pieces:
            if piece is None:
                await asyncio.sleep(0)
            else:
                joining.write(piece)
        await asyncio.sleep(0)
        assert b"".join(below.written) == b"".join(piece for piece in pieces if piece is not None)

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("wire") / "portrait.db"
    assert portrait("tenant", "create", TENANT, database=path).returncode == 0
    with server(path, "--auth", "open") as (url, _):
        yield urlsplit(url)


def talk(served, *requests):
    """Send requests on one connection, each once the last was answered; return the statuses."""
    statuses = []
    with socket.create_connection((served.hostname, served.port), timeout=10) as one, one.makefile("rb") as answers:
        for request in requests:
            one.sendall(request)
            statuses.append(int(answers.readline().split()[1]))
            length = 0
            while (line := answers.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name == b"content-length" else length
            if not request.startswith(b"HEAD") and statuses[-1] not in {304, 100}:
                answers.read(length)
    return statuses


def line(method, path, *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"X-Tenant-Id: {TENANT}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_one_connection_takes_answers_of_every_kind(served):
    profile = "/api/v1/customers/c1/unified-profile"
    body = str(interaction(1)).replace("'", '"').encode()
    told = line(
        "POST", "/api/v1/customers/c1/interactions", "Content-Type: application/json", f"Content-Length: {len(body)}",
        body=body,
    )  # fmt: skip
    waiting = told.removesuffix(body).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    asked = [told, line("GET", profile), line("HEAD", profile), line("GET", profile, "If-None-Match: *"),
             line("GET", "/nowhere"), line("GET", profile)]  # fmt: skip
    assert talk(served, *asked) == [201, 200, 200, 304, 404, 200]
    assert talk(served, waiting, body, line("HEAD", profile), line("GET", profile)) == [100, 201, 200, 200]
