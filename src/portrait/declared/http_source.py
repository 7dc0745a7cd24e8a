"""Sources over HTTP: one GET, whose answer is JSON; where its records are says a path."""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterable, Sequence
from functools import cache
from typing import Any, Literal

import httpcore

from portrait.declared.address import Network
from portrait.declared.connecting import GuardedBackend
from portrait.declared.failures import LATE, NOT_ASKED, UNREACHABLE, UNUSABLE
from portrait.declared.json_path import JsonPath
from portrait.declared.names import Asker, Question
from portrait.declared.secret import Secret, SecretMissing
from portrait.declared.url import UrlTemplate
from portrait.model import strict_json
from portrait.model.errors import MalformedJson, SourceFailed

MAX_CONNECTIONS = 32
"""The most connections of one source and event loop: as many as calls of one section may run at once."""
KEEP_ALIVE_SECONDS = 15.0
"""How long a connection is kept for the next call: shorter than servers keep one."""


class HttpSource:
    """One source. Its function is `ask`, a coroutine; each event loop that it runs on has its own connections.

    Args:
        question: what is asked about.
        url: where.
        headers: what is sent besides.
        records: where the answer's records are; None: it is a list of them, or one.
        fields: of each record, where the values of its fields are; None: it is shown as it is.
        not_found: what status 404 means.
        allowed: networks that may be called besides public addresses.
        max_bytes: the most bytes of an answer, inflated.
        timeout: how long connecting, and each wait for bytes, may take in seconds.
    """

    def __init__(
        self,
        question: Question,
        url: UrlTemplate,
        headers: dict[str, str | Secret],
        records: JsonPath | None,
        fields: dict[str, JsonPath] | None,
        not_found: Literal["empty", "failure"],
        allowed: Sequence[Network],
        max_bytes: int,
        timeout: float,
    ) -> None:
        self._question = question
        self._url = url
        self._headers = headers
        self._records = records
        self._fields = fields
        self._not_found = not_found
        self._allowed = allowed
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._pools: dict[asyncio.AbstractEventLoop, httpcore.AsyncConnectionPool] = {}

    async def ask(self, asker: Asker) -> list[Any]:
        """Return the source's records of a customer.

        Raises:
            SourceFailed: it cannot be reached, or answers what cannot be shown.
        """
        values = self._question.values(asker)
        if values is None:
            return []
        try:
            target = self._url.target(values)
        except ValueError as error:
            raise SourceFailed(NOT_ASKED, str(error)) from None
        body = await self._get(target)
        return [] if body is None else self._read(body)

    async def end(self) -> None:
        """Close the connections of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()

    async def _get(self, target: str) -> bytes | None:
        """Return the answer's body; None: the source knows nothing of the customer."""
        url = httpcore.URL(scheme=self._url.scheme, host=self._url.host, port=self._url.port, target=target)
        waits = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)
        headers = self._sent_headers()
        try:
            async with self._pool().stream("GET", url, headers=headers, extensions={"timeout": waits}) as response:
                if response.status == 404 and self._not_found == "empty":
                    await _drain(response.aiter_stream())
                    return None
                if 300 <= response.status < 400:
                    text = f"it redirects (status {response.status}), and redirects are not followed"
                    raise SourceFailed("The source redirects, and redirects are not followed.", text)
                if response.status != 200:
                    text = f"answered with status {response.status}"
                    raise SourceFailed(f"The source {text}.", f"it {text}")
                return await self._body(response)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise SourceFailed(UNREACHABLE, f"it cannot be reached: {_reason(error)}") from None
        except httpcore.TimeoutException:
            raise SourceFailed(LATE, "it did not answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            text = f"the connection or its protocol broke ({type(error).__name__})"
            raise SourceFailed("The source ended the connection, or does not speak HTTP.", text) from None

    def _pool(self) -> httpcore.AsyncConnectionPool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = httpcore.AsyncConnectionPool(
                ssl_context=trust() if self._url.scheme == "https" else None,
                max_connections=MAX_CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
                network_backend=GuardedBackend(self._allowed),
            )
        return self._pools[loop]

    def _sent_headers(self) -> list[tuple[str, str]]:
        try:
            own = [
                (name, value.read() if isinstance(value, Secret) else value) for name, value in self._headers.items()
            ]
        except SecretMissing as error:
            raise SourceFailed(NOT_ASKED, str(error)) from None
        usual = {"Accept": "application/json", "User-Agent": "portrait"}
        given = {name.lower() for name in self._headers}
        rest = [(name, value) for name, value in usual.items() if name.lower() not in given]
        return [("Host", self._url.header), ("Accept-Encoding", "gzip"), *rest, *own]

    async def _body(self, response: httpcore.Response) -> bytes:
        """Return the body, inflated; never more than a chunk beyond the most bytes is kept or inflated."""
        encoding = _encoding(response)
        if encoding not in {"", "identity", "gzip"}:
            raise SourceFailed(UNUSABLE, "its answer is encoded in a way that was not asked for")
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
        body = bytearray()
        sent = 0
        async for chunk in response.aiter_stream():
            sent += len(chunk)
            if inflate is None:
                body += chunk
            else:
                try:
                    body += inflate.decompress(chunk, self._max_bytes - len(body) + 1)
                except zlib.error:
                    raise SourceFailed(UNUSABLE, "its answer is no gzip, though it says so") from None
            if max(sent, len(body)) > self._max_bytes:
                raise SourceFailed("The source's answer is too large.", f"more than {self._max_bytes} bytes: max_bytes")
        if inflate is not None and (not inflate.eof or inflate.unused_data):
            raise SourceFailed(UNUSABLE, "its answer is no whole gzip")
        return bytes(body)

    def _read(self, body: bytes) -> list[Any]:
        try:
            strict_json.check(body)
            answer = strict_json.decode(body)
        except MalformedJson:
            raise SourceFailed(UNUSABLE, "its answer is no JSON") from None
        try:
            if self._records is not None:
                records = self._records.values(answer)
            else:
                records = answer if isinstance(answer, list) else [answer]
        except ValueError as error:
            raise SourceFailed(UNUSABLE, f"records leads nowhere in its answer: {error}") from None
        if self._fields is None:
            return records
        if not all(isinstance(record, dict) for record in records):
            raise SourceFailed(UNUSABLE, "a record is no object, so it has no fields")
        return [{name: path.value(record) for name, path in self._fields.items()} for record in records]


@cache
def trust() -> ssl.SSLContext:
    """Return what certificates are checked with: the system's authorities, or those that SSL_CERT_FILE names."""
    return ssl.create_default_context()


def _encoding(response: httpcore.Response) -> str:
    values = [value for name, value in response.headers if name.lower() == b"content-encoding"]
    return b",".join(values).decode("latin-1").strip().lower()


async def _drain(chunks: AsyncIterable[bytes]) -> None:
    """Read a body that says nothing, so that the connection can be used again; give a long one up."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > 2**16:
            return


def _reason(error: Exception) -> str:
    """Return why a connection failed, for the log: of TLS its reason, which is about certificates."""
    text = str(error)
    return text if "[SSL:" in text else type(error).__name__
