"""Documents: one section of one customer's portrait as JSON, ready to send, derived from facts."""

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from portrait.model.identifier import Identifier, customer

HEAD = ""
"""The section name under which a customer's head stands; no section can be called so."""
STALE = 0
"""The version of a document that must be rendered anew from the states before it is shown; sections begin at 1."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What tells an unknown customer from an empty or a merged one. Stored as the document of section `HEAD`."""

    profile_id: bytes
    """Random and internal: the id of the customer's first fact."""
    created_at: int
    updated_at: int
    """When the newest fact was recorded, in microseconds: the next is recorded later, whatever the clock says."""
    merged_into: str | None = None
    members: tuple[Identifier, ...] = ()
    """All identifiers of the customer, ordered; empty where its own customer id is the only one."""

    def identifiers(self, customer_id: str) -> tuple[Identifier, ...]:
        """Return all identifiers of the customer that this is the head of."""
        return self.members or (customer(customer_id),)


class Document(NamedTuple):
    """One section of one customer, as it is stored."""

    section: str
    body: bytes
    """The JSON of an array of records; it may be followed by `,"error":` and why there are no records."""
    hash: bytes
    valid_until: int | None
    """The moment from which time alone changes the content, in microseconds; None: never."""
    version: int
    """The version of the section's code that rendered it."""

    def is_due(self, now: int) -> bool:
        """Tell whether time has overtaken the content at a moment, in microseconds."""
        return self.valid_until is not None and self.valid_until <= now


def content_hash(body: bytes) -> bytes:
    """Return 16 bytes that differ whenever the content does."""
    return blake2b(body, digest_size=16).digest()


def document(section: str, body: bytes, valid_until: int | None, version: int) -> Document:
    """Return the document of a rendered section."""
    return Document(section, body, content_hash(body), valid_until, version)


def records_of(body: bytes) -> list[Any]:
    """Return the records that a document's body shows; none where it shows an error in their place."""
    records: list[Any] = msgspec.json.decode(b'{"data":%b}' % body)["data"]
    return records


def stale(section: str) -> Document:
    """Return the document that only says that the section is to be rendered anew, by a process that knows it."""
    return document(section, b"[]", None, STALE)


_head_decoder = msgspec.msgpack.Decoder(Head)
_head_encoder = msgspec.msgpack.Encoder()


def head_document(head: Head) -> Document:
    """Return a head in its stored form."""
    return Document(HEAD, _head_encoder.encode(head), b"", None, 0)


def read_head(body: bytes) -> Head:
    """Return the head that a stored body holds."""
    return _head_decoder.decode(body)


def known_head(body: bytes) -> Head | None:
    """Return the head that a stored body holds; None where it is empty or damaged: it is derived, and made anew."""
    try:
        return _head_decoder.decode(body)
    except msgspec.MsgspecError:
        return None
