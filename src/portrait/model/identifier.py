"""Identifiers: the ways in which sources name a customer, and the rule that every outside name keeps to."""

import re
import secrets
import unicodedata
from functools import lru_cache
from typing import NamedTuple

CUSTOMER_ID = "customer_id"
"""The type of identifier that the API's paths carry; never normalised."""

MAX_NAME_BYTES = 256
"""The longest customer id or key, in bytes of UTF-8."""
MAX_VALUE_BYTES = 1024
"""The longest value of any identifier, in bytes of UTF-8: PostgreSQL keeps no key of an index beyond some 2,700."""


class Identifier(NamedTuple):
    """One name of a customer in one system. `value` is the form used for matching."""

    type: str
    value: str

    @property
    def tag(self) -> str:
        """The identifier as one text, unique: types hold no colon."""
        return f"{self.type}:{self.value}"

    @staticmethod
    def of_tag(tag: str) -> "Identifier":
        """Return the identifier with this tag."""
        return _of_tag(tag)


@lru_cache(maxsize=4096)  # a profile's identifiers are named by each other, over and over
def _of_tag(tag: str) -> Identifier:
    type_, _, value = tag.partition(":")
    return Identifier(type_, value)


def customer(customer_id: str) -> Identifier:
    """Return the identifier of a customer known by its customer id."""
    return Identifier(CUSTOMER_ID, customer_id)


def generated() -> Identifier:
    """Return a new customer id, at random, for a profile that no customer id of the company's names yet."""
    return customer(f"anon_{secrets.token_hex(16)}")


def is_generated(customer_id: str) -> bool:
    """Tell whether a customer id has the form of those that Portrait makes."""
    return _generated.fullmatch(customer_id) is not None


_generated = re.compile(r"anon_[0-9a-f]{32}")


def value_fault(identifier: Identifier, raw_value: str) -> str | None:
    """Return the rule that an identifier's value breaks, in its matched form or as it was sent, or None.

    A customer id keeps to the rule of names; another identifier has at most 1,024 bytes of UTF-8.
    """
    if identifier.type == CUSTOMER_ID:
        return name_fault(raw_value)
    return length_fault(raw_value) or length_fault(identifier.value)


def length_fault(text: str, most: int = MAX_VALUE_BYTES) -> str | None:
    """Return what is wrong with the length of a text, or None; the default limit is that of an identifier's value.

    Characters are counted first, which costs nothing: each has a byte at least.
    """
    if len(text) <= most:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            return "must be valid Unicode, without lone surrogates"
        if size <= most:
            return None
    return f"must have at most {most} bytes of UTF-8"


def name_fault(text: str) -> str | None:
    """Return the rule that a customer id or key breaks, or None.

    The rule: non-empty, at most 256 bytes of UTF-8, no control characters, and neither `.` nor `..`, which clients
    remove from paths.
    """
    if not text:
        return "must not be empty"
    if text in {".", ".."}:
        return "must not be . or .., which HTTP clients remove from paths"
    if not (text.isascii() and len(text) <= MAX_NAME_BYTES) and (fault := length_fault(text, MAX_NAME_BYTES)):
        return fault
    # Printable text holds no control character; only the rest is looked at character by character.
    if not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text):
        return "must not contain control characters"
    return None
