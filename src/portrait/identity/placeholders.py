"""Placeholders: what forms, devices, libraries and people put where there is no value, and what several people share.

A placeholder is nobody's: a record that names a placeholder names no identifier. A value that several people may share
is somebody's, and answers show it; it joins no two people. Both are judged by the form in which a value matches and by
the original text: with a region, `0000000000` becomes a number that looks like others.
"""

import hashlib
import re
from functools import lru_cache
from itertools import product

import phonenumbers
from phonenumbers import NumberParseException

from portrait.identity.patterns import MAX_LENGTH
from portrait.identity.phones import MAX_PHONE, Number, number_of
from portrait.identity.spellings import phone_in
from portrait.model.identifier import CUSTOMER_ID, Identifier

NULLS = frozenset(
    {
        "blank", "empty", "false", "missing", "na", "nan", "nat", "nil", "none", "not applicable", "not available",
        "not defined", "not found", "not given", "not known", "not provided", "not set", "null", "object object",
        "undefined", "unknown", "unspecified", "void",
    }
)  # fmt: skip
"""Words for no value. No customer id is one of these either."""

NAMELESS = frozenset({"anonymous", "guest", "no id", "no name", "no user", "not authenticated"})
"""Words for nobody in particular. No customer id is one of these either."""

WORDS = (
    NULLS
    | NAMELESS
    | {
        "admin", "asdf", "customer", "default", "deleted", "demo", "dummy", "email", "example", "fake", "id", "info",
        "invalid", "mail", "me", "name", "no", "no address", "no email", "no mail", "no number", "no phone", "nobody",
        "opt out", "opted out", "phone", "private", "qwerty", "redacted", "removed", "sample", "someone", "tba", "tbd",
        "test", "tester", "testing", "test test", "true", "user", "username", "x", "xx", "xxx", "yes", "you",
        "your email",
    }
)  # fmt: skip
"""Words that say nothing of a person as a whole value, whatever their case, and with any signs around or in them."""

NO_MAILBOXES = frozenset(
    {
        "anonymous", "do not reply", "invalid", "no address", "no email", "no mail", "none",
        "no one", "no reply", "not available", "not given", "not provided", "null", "undefined", "unknown",
    }
)  # fmt: skip
"""Local parts of addresses that are nobody's, at any domain."""

NO_DOMAINS = frozenset({"company", "domain", "example", "mail", "yourcompany", "yourdomain"})
"""Domains at which a placeholder word is nobody's address, besides the domains that are such words themselves."""

CONSTANTS = frozenset(
    {
        "9774d56d682e549c",  # the Android id of many devices and of the emulator
        "004999010640000",  # the IMEI of many cheap devices
        "020000000000",  # what Android answers instead of a MAC address
        "47deqpj8hbsatimw5jceuqerkm5nmpjwzg3hsufu",  # the SHA-256 of an empty text in Base64
    }
)
"""Constants that many devices have, without the signs in them."""

HASHED = ("md5", "sha1", "sha256", "sha512")
"""The hashes in which no value is known: of an empty text, and of the words for none."""

MACRO = re.compile(
    r"[$#%]?(?:[\[{(<]{1,3}|%%|__)[ ]?[a-z]+(?:[ ._:|-][a-z]+)*[ ]?(?:[\]})>]{1,3}|%%|__)", re.IGNORECASE
)
"""A name in brackets or the like: a template's field that was not filled in; or `(null)` and its like. Matching is
linear: each part of a name begins with a sign that no part contains, so that backtracking finds nothing to try."""

_SIGNS = re.compile(r"[\s!-/:-@\[-`{-~\u2010-\u2015\u2026\ufffd]+")
"""White space and what is neither a letter nor a digit: signs of ASCII, dashes, the dots of an ellipsis."""
_DASHES = frozenset("-_.?/ \u2013\u2014")
_PLUS = re.compile(r"[^\w;]*?[+\uff0b]")
_EXTENSION = re.compile(r"[;,#]|[^\W\d_]")
_LEAST_REPEATED = 6
"""The fewest digits of a number that is one digit over and over."""
_LEAST_IN_A_ROW = 5
_KEPT = 4096
"""How many judgements are kept: a record asks for each more than once, and the next record often for the same."""


@lru_cache(maxsize=_KEPT)
def is_nobodys(identifier: Identifier, original: str, region: str | None = None) -> bool:
    """Tell whether an identifier's value says nothing of a person.

    Args:
        identifier: the identifier, in the form in which it is matched.
        original: its original value.
        region: where phone numbers without a country's prefix are from.
    """
    texts = [text for text in dict.fromkeys((identifier.value, original)) if len(text) <= MAX_LENGTH]
    if identifier.type == CUSTOMER_ID:
        return any(map(_is_null, texts))
    if any(_is_placeholder(text) or _squeezed(text) == _squeezed(identifier.type) for text in texts):
        return True
    if identifier.type == "phone":
        return _is_nobodys_number(identifier.value, original, region)
    if identifier.type == "email":
        return any(map(_is_nobodys_address, texts))
    return any(map(_is_repeated, texts))


def is_uncertain(identifier: Identifier, region: str | None = None) -> bool:
    """Tell whether an identifier's value may be several people's, so that it joins no two of them.

    These are: a phone that could not be read as a number, since without its area code it is another person's in each
    area; a number that its region does not have; a number of one digit over and over, which is in use in some places;
    and an e-mail address with nothing on one side of the @.
    """
    if identifier.type == "email":
        local, _, domain = identifier.value.rpartition("@")
        return not (local and domain)
    return identifier.type == "phone" and not is_certain_number(identifier.value, region)


def is_certain_number(form: str, region: str | None) -> bool:
    """Tell whether a phone's form is a number of one line, as far as the form shows."""
    number = number_of(form)
    if number is None or _is_one_digit(number.national):
        return False
    return number.is_valid or number.country_code != phonenumbers.country_code_for_region(region or "")


@lru_cache(maxsize=1)
def hashes_of_nothing() -> frozenset[str]:
    """Return the hashes, in hexadecimal digits, of an empty text and of the words for none in their usual spellings."""
    spelt = {"", " ", *(spelling for word in NULLS for spelling in (word, word.upper(), word.title()))}
    return frozenset(hashlib.new(kind, text.encode()).hexdigest() for kind, text in product(HASHED, spelt))


def _squeezed(text: str) -> str:
    """Return a text without its case and without signs."""
    return _SIGNS.sub("", text.casefold())


_WORDS = frozenset(map(_squeezed, WORDS))
_NULLS = frozenset(map(_squeezed, NULLS | NAMELESS))
_NO_MAILBOXES = frozenset(map(_squeezed, NO_MAILBOXES))
_MAILBOXES = _WORDS - {"id", "me", "nobody", "x", "xx", "xxx", "you"}
"""Words that are nobody's address at a domain that is such a word; short words are left out: they may be somebody's."""


def _is_null(text: str) -> bool:
    """Tell whether a text stands for no value, as zeros, dashes and the like do."""
    squeezed = _squeezed(text)
    is_blank = not squeezed.strip("0") if squeezed else _DASHES.issuperset(text)
    return is_blank or squeezed in _NULLS or _is_machines(text, squeezed)


def _is_placeholder(text: str) -> bool:
    squeezed = _squeezed(text)
    return text == "-1" or squeezed in _WORDS or not squeezed.strip("0") or _is_machines(text, squeezed)


def _is_machines(text: str, squeezed: str) -> bool:
    """Tell whether a text is a program's own placeholder."""
    return MACRO.fullmatch(text) is not None or squeezed in CONSTANTS or squeezed in hashes_of_nothing()


def _is_repeated(text: str) -> bool:
    """Tell whether a text is one character over and over, whatever the signs between."""
    squeezed = _squeezed(text)
    return len(squeezed) >= _LEAST_REPEATED and len(set(squeezed)) == 1


def _is_nobodys_address(text: str) -> bool:
    """Tell whether a text is an e-mail address at which nobody is: `none@none`, `noreply@…`, `user@example.com`."""
    local, _, domain = text.casefold().rpartition("@")
    mailbox = _squeezed(local)
    labels = domain.split(".")
    names = {_squeezed(label) for label in labels[:-1] or labels}
    if _squeezed(local.partition("+")[0]) in _NO_MAILBOXES:
        return True
    if mailbox in _MAILBOXES and all(name in _WORDS or name in NO_DOMAINS for name in names):
        return True
    return names == {mailbox} and (mailbox.isdigit() or len(set(mailbox)) == 1)


def _is_nobodys_number(form: str, original: str, region: str | None) -> bool:
    """Tell whether a phone is all zeros, or is one digit over and over or digits in a row, and not in use.

    Typed without the country's prefix such a row is nobody's, even where it is in use.
    """
    if len(original) > MAX_PHONE:
        return False
    typed = _typed(original)
    if typed and not typed.strip("0"):
        return True
    if not _PLUS.match(original) and _is_filler(typed):
        return True
    number = number_of(form) or _perhaps(original, region)
    if number is None:
        return False
    return not number.national.strip("0") or (not number.is_valid and _is_filler(number.national))


def _typed(original: str) -> str:
    """Return the digits of an original phone value, without its extension."""
    text = phone_in(original.strip())
    if text[:4].casefold() == "tel:":
        text = text[4:]
    digits: str = phonenumbers.normalize_digits_only(_EXTENSION.split(text)[0])
    return digits


def _perhaps(original: str, region: str | None) -> Number | None:
    """Return the number that a text would be, valid or not; None where it cannot be read."""
    try:
        number = phonenumbers.parse(original, region)
    except NumberParseException:
        return None
    return Number(number.country_code or 0, phonenumbers.national_significant_number(number), is_valid=False)


def _is_filler(digits: str) -> bool:
    """Tell whether digits are one digit over and over, or follow each other from 0 or 1 up, or from 9 down."""
    return _is_one_digit(digits) or (len(digits) >= _LEAST_IN_A_ROW and any(row.startswith(digits) for row in _ROWS))


def _is_one_digit(digits: str) -> bool:
    return len(digits) >= _LEAST_REPEATED and len(set(digits)) == 1


_ROWS = tuple(row * 2 for row in ("0123456789", "1234567890", "9876543210"))
