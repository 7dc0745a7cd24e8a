"""Facts: one thing that one source said about one identifier at one time. Appended, never changed."""

import random
from enum import StrEnum

import msgspec

from portrait.model.identifier import Identifier


class Op(StrEnum):
    """What a fact does to its key."""

    PUT = "put"
    DELETE = "delete"


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One fact. Facts of one key are ordered by (effective_at, recorded_at, id), which is total."""

    identifier: Identifier
    section: str
    key: str
    """Names the record within its section: URL-safe once percent-encoded, and free of personal data."""
    op: Op
    body: bytes
    """The record as canonical JSON; empty for a delete."""
    effective_at: int
    """When it was true, in microseconds."""
    recorded_at: int
    """When we were told, in microseconds; grows with every fact of a customer."""
    source: str | None
    id: bytes
    """16 bytes, a UUID version 7 that carries `recorded_at`: ids sort as their facts were recorded."""
    version: int
    """The section's version when the fact was recorded."""


def fact_id(recorded_at: int) -> bytes:
    """Return a new UUID version 7 for a fact recorded at that moment.

    48 bits of milliseconds, then 12 bits of sub-millisecond fraction (RFC 9562, section 6.2, method 3), so that ids
    order exactly as `recorded_at` does; 62 random bits follow, which keep ids apart and need not be hard to guess.
    """
    millis, micros = divmod(recorded_at, 1000)
    fraction = (micros << 12) // 1000
    head = (millis << 16) | (7 << 12) | fraction
    tail = (0b10 << 62) | random.getrandbits(62)  # seeded from the system, anew after a fork
    return (head << 64 | tail).to_bytes(16, "big")
