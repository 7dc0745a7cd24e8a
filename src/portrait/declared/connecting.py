"""Connections of outgoing calls: a name is resolved once, its addresses are checked, and a checked one is called."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterable, Sequence

import httpcore

from portrait.declared.address import Network, may_reach
from portrait.declared.failures import REFUSED, UNREACHABLE
from portrait.model.errors import SourceFailed

MAX_TRIED = 3
"""The most addresses of a name that are tried."""

Found = list[str] | OSError


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be reached, and to no others.

    Between the check and the call nothing is resolved again. TLS goes on with the name of the URL.

    Args:
        allowed: networks that may be reached besides public addresses.
    """

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._tcp = httpcore.AnyIOBackend()
        self._resolving: asyncio.Future[Found] | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to a host.

        Raises:
            SourceFailed: the host has no address, or one that may not be reached.
            httpcore.ConnectError, httpcore.ConnectTimeout: none of its addresses answers.
        """
        found = await self._addresses(host, port)
        if isinstance(found, OSError) or not found:
            raise SourceFailed(UNREACHABLE, "its name has no address")
        # One that may not be reached is enough to refuse all: a public name does not lead into a private network.
        if not all(may_reach(address, self._allowed) for address in found):
            raise SourceFailed(REFUSED, "its name leads to an address that is not public; see allow_private")
        *first, last = found[:MAX_TRIED]
        for address in first:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._tcp.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._tcp.connect_tcp(last, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._tcp.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Found:
        """Return the addresses of the one host that is called here; calls that come meanwhile wait for the same."""
        if self._resolving is None or self._resolving.done():
            loop = asyncio.get_running_loop()
            self._resolving = loop.create_future()
            # A daemon thread, not a pool's: a pool would wait at exit for a name server that does not answer.
            target = (host, port, loop, self._resolving)
            threading.Thread(target=_resolve, args=target, name="portrait-resolve", daemon=True).start()
        return await asyncio.shield(self._resolving)


def resolve(host: str, port: int) -> list[str]:
    """Return a host's addresses.

    Raises:
        OSError: it has none, or nobody could say.
    """
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _resolve(host: str, port: int, loop: asyncio.AbstractEventLoop, resolving: "asyncio.Future[Found]") -> None:
    found: Found
    try:
        found = resolve(host, port)
    except OSError as error:
        found = error
    except UnicodeError:  # a label of more than 63 characters
        found = OSError()
    with contextlib.suppress(RuntimeError):  # the loop has closed
        loop.call_soon_threadsafe(_settle, resolving, found)


def _settle(resolving: "asyncio.Future[Found]", found: Found) -> None:
    if not resolving.done():
        resolving.set_result(found)
