"""What a write key takes in: events of one named source, from some web pages, so many a second."""

import re
from typing import NamedTuple

import msgspec

from portrait.model.errors import InvalidParameter
from portrait.model.source import PUBLIC
from portrait.storage.contract import TenantRow

COLLECTOR = "collector"
"""The role of write keys: they take in what clients of other makers send, and nothing else."""
EVENTS_PER_SECOND = 1000
"""The most events a second and process, where a write key says nothing else."""
MAX_EVENTS_PER_SECOND = 100_000
MAX_ORIGINS = 100
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?")


class Grant(msgspec.Struct, frozen=True):
    """What a write key takes in."""

    source: str
    """The source of all that comes with it, as facts name it; that of a public key begins with `public:`."""
    origins: tuple[str, ...] = ()
    """The origins of the web pages that may send with it; none: any, and programs."""
    events_per_second: int = EVENTS_PER_SECOND


class WriteKey(NamedTuple):
    """Whoever presents a write key."""

    key_id: str
    tenant: TenantRow
    grant: Grant


_decoder = msgspec.json.Decoder(Grant)


def stored(grant: Grant) -> bytes:
    """Return a grant as it is stored."""
    return msgspec.json.encode(grant)


def read(grant: bytes) -> Grant:
    """Return a grant that is stored."""
    return _decoder.decode(grant)


def grant_of(
    source: str, *, private: bool = False, origins: tuple[str, ...] = (), events_per_second: int = EVENTS_PER_SECOND
) -> Grant:
    """Return the grant of a new write key.

    Args:
        source: the name of its source.
        private: whether the key stays on servers. If not anybody may read it, out of a page or an app, and its word
            counts least.
        origins: the origins of the pages that may send with it, as browsers say them: `https://shop.example`.
        events_per_second: the most events a second and process.

    Raises:
        InvalidParameter: one of these breaks its rule.
    """
    if not _SOURCE.fullmatch(source):
        raise InvalidParameter(f"A write key's source must match {_SOURCE.pattern}.")
    if len(origins) > MAX_ORIGINS or not all(map(_ORIGIN.fullmatch, origins)):
        raise InvalidParameter(
            f"A write key has at most {MAX_ORIGINS} origins, each of a scheme and a host: https://shop.example, say."
        )
    if not 1 <= events_per_second <= MAX_EVENTS_PER_SECOND:
        raise InvalidParameter(f"A write key takes 1 to {MAX_EVENTS_PER_SECOND} events a second.")
    return Grant(source if private else PUBLIC + source, tuple(dict.fromkeys(origins)), events_per_second)
