"""Forms of identifiers that are no addresses and no numbers: of UUIDs, and of a tenant's own types.

A form is made of a text that was trimmed. What is not of the kind that its form says stays as it is: a text of digits
with letters among them is no number, and one of 17 characters no Salesforce id.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Literal
from unicodedata import decimal, normalize

Form = Literal["uuid", "digits", "lower", "salesforce_id", "sha256"]
"""The forms that a type of a tenant's own may have."""

_HEX = "[0-9A-Fa-f]"
_UUID = re.compile(
    rf"(?:urn:uuid:)?(\{{)?({_HEX}{{8}})(-?)({_HEX}{{4}})\3({_HEX}{{4}})\3({_HEX}{{4}})\3({_HEX}{{12}})(?(1)\}})",
    re.IGNORECASE,
)
"""A UUID as RFC 9562 writes it, in braces, as a URN, or without hyphens."""
_FLOAT = re.compile(r"\+?\d+\.0+")
"""A whole number that a spreadsheet or a table of floating numbers has taken for another."""
_FRACTION = re.compile(r"\d+[.,]\d{1,2}")
_SALESFORCE = re.compile("[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
_CHECKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
"""The check characters of a Salesforce id: each says which of five characters are capitals."""
_DIGEST = re.compile(f"{_HEX}{{64}}")
_BASE64 = re.compile("[0-9A-Za-z+/]{43}=?|[0-9A-Za-z_-]{43}=?")
"""32 bytes in Base64, in either alphabet of RFC 4648."""


def folded(text: str) -> str:
    """Return a text without its case, such that texts equal but for case and composition are equal (Unicode, D145)."""
    return normalize("NFC", normalize("NFD", text).casefold())


def uuid(text: str) -> str:
    """Return a UUID in lower case with hyphens (RFC 9562); another text as it is."""
    whole = _UUID.fullmatch(text)
    return "-".join(whole.group(2, 4, 5, 6, 7)).lower() if whole else text


def without_fraction(text: str) -> str:
    """Return a text of digits without the `.0` that a table of floating numbers has put behind them."""
    return text.partition(".")[0] if _FLOAT.fullmatch(text) else text


def _digits(text: str) -> str:
    """Return the digits of a number, of any script, in ASCII; a text with letters, or a fraction, as it is."""
    whole = without_fraction(text)
    if _FRACTION.fullmatch(whole) or any(character.isalpha() for character in whole):
        return text
    return "".join(str(digit) for character in whole if (digit := decimal(character, None)) is not None) or text


def _salesforce_id(text: str) -> str:
    """Return a Salesforce id with its three check characters, and in the case that they say."""
    if not _SALESFORCE.fullmatch(text):
        return text
    own, checks = text[:15], text[15:].upper()
    if not checks:
        return own + "".join(_check(own[begin : begin + 5]) for begin in range(0, 15, 5))
    if not set(checks) <= set(_CHECKS):
        return text
    bits = [_CHECKS.index(check) >> place & 1 for check in checks for place in range(5)]
    restored = "".join(
        character.upper() if is_capital else character.lower() for character, is_capital in zip(own, bits, strict=True)
    )
    is_of_digit = any(is_capital and character.isdigit() for character, is_capital in zip(own, bits, strict=True))
    # Case that was lost is restored; case that is there and says something else makes it another text.
    if is_of_digit or own not in {restored, own.lower(), own.upper()}:
        return text
    return restored + checks


def _check(five: str) -> str:
    return _CHECKS[sum(character.isupper() << place for place, character in enumerate(five))]


def _sha256(text: str) -> str:
    """Return a SHA-256 in hexadecimal digits in lower case, whether it was given in those or in Base64."""
    if _DIGEST.fullmatch(text):
        return text.lower()
    if not _BASE64.fullmatch(text):
        return text
    encoded = text.rstrip("=").replace("-", "+").replace("_", "/") + "="
    try:
        digest = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return text
    return digest.hex() if base64.b64encode(digest).decode() == encoded else text


_FORMS: Mapping[str, Callable[[str], str]] = {
    "uuid": uuid, "digits": _digits, "lower": folded, "salesforce_id": _salesforce_id, "sha256": _sha256,
}  # fmt: skip


def formed(text: str, form: Form | None) -> str:
    """Return a trimmed text in a form; None: as it is. A form's form is itself."""
    return text if form is None else _FORMS[form](text)
