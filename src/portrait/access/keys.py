"""API keys: `portrait_<id>_<secret>_<checksum>`.

The id finds the key, the secret (256 random bits) proves it, the checksum (CRC-32 of what stands before it) lets a
mistyped or made-up key be refused without asking the database. At rest there is SHA-256 of the secret: a slow hash
protects guessable passwords, and 256 random bits are not guessable.
"""

import binascii
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

PREFIX = "portrait"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{12}})_([0-9A-Za-z]{{43}})_([0-9A-Za-z]{{6}})")


class ApiKey(NamedTuple):
    """An API key in the clear; it is never stored or logged."""

    id: str
    secret: str

    def __str__(self) -> str:
        """Return the key as it is handed out."""
        body = f"{PREFIX}_{self.id}_{self.secret}"
        return f"{body}_{_checksum(body)}"

    def __repr__(self) -> str:
        """Return what may be seen of the key."""
        return f"<ApiKey {self.id}>"

    @property
    def secret_hash(self) -> bytes:
        """What is stored of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()

    @property
    def last_four(self) -> str:
        """The last four characters of the key: what lists show."""
        return str(self)[-4:]


def mint() -> ApiKey:
    """Return a new key."""
    return ApiKey(_base62(secrets.randbits(71), 12), _base62(secrets.randbits(256), 43))


def parse(text: str) -> ApiKey | None:
    """Return the key that a text is; None where its form or checksum is wrong."""
    match = _SHAPE.fullmatch(text)
    if match is None or not hmac.compare_digest(_checksum(text.rpartition("_")[0]), match[3]):
        return None
    return ApiKey(match[1], match[2])


def matches(key: ApiKey, secret_hash: bytes) -> bool:
    """Tell, in constant time, whether a key's secret is the one that was stored."""
    return hmac.compare_digest(key.secret_hash, secret_hash)


def _checksum(body: str) -> str:
    return _base62(binascii.crc32(body.encode()), 6)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
