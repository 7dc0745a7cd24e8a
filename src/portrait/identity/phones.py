"""Phone numbers as texts, and their form: E.164, with `;ext=` and the extension where there is one.

What stands as it is stays as it is. Only a text that is no number in use is tried otherwise: as a number that its
country has renumbered since, and as one with `00` or the bare country code in front.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from portrait.identity.spellings import phone_in

MAX_PHONE = 64
"""The longest text that is read as a phone number, in characters: `phonenumbers` goes over blanks many times."""
_KEPT = 4096
"""How many forms are kept. A record's is asked for more than once, and numbers come again."""
_LEAST_BARE = 11
"""The fewest digits that are read as a number with a bare country code. Shorter ones are some country's own as well."""
_MOBILE = ("BR", "CN")
"""Where mobile numbers have as many digits, and no prefix: in China 131 2345 6789, in Chicago +1 312 345 6789."""
_EIGHT = ("RU",)
"""Where a number within the country has an 8 in front: +84 is Vietnam, and 8 495 Moscow."""

_NUMBER = re.compile(r"(?:tel:)?(?:\d|[^\w;])+((?:;|[^\W\d_])\D*\d+\W*)?", re.IGNORECASE)
"""A text that is a phone number from end to end: digits and signs, then perhaps a label and an extension."""
_DIALLED = re.compile(r"[^\w;+\uff0b]*(?:0|\uff10)[^\w;+\uff0b]*(?:0|\uff10)(?=[^\w;+\uff0b]*[1-9\uff11-\uff19])")
"""`00`, by which a call goes abroad from most places, before the code of a country."""


class Number(NamedTuple):
    """What a phone number's form says."""

    country_code: int
    national: str
    """The digits behind the country's code; the extension is not among them."""
    is_valid: bool
    """Whether its range is in use, as far as `phonenumbers` knows; ranges change every few weeks."""


@lru_cache(maxsize=_KEPT)
def number_of(form: str) -> Number | None:
    """Return what the form of a phone number says; None where the form is a text that could not be read as a number."""
    if len(form) > MAX_PHONE or phone_form(form, None) != form:
        return None
    number = phonenumbers.parse(form)
    return Number(
        number.country_code or 0,
        phonenumbers.national_significant_number(number),
        phonenumbers.is_valid_number(number),
    )


def region_fault(region: str) -> str | None:
    """Return the rule that a default region of phone numbers breaks, or None."""
    if not re.fullmatch("[A-Z]{2}", region):
        return "must be two capital letters: a code of ISO 3166-1 alpha-2"
    if region not in phonenumbers.SUPPORTED_REGIONS:
        return "must be a country or territory that has telephone numbers"
    return None


@lru_cache(maxsize=_KEPT)
def phone_form(text: str, region: str | None) -> str | None:
    """Return a number's form; None where the text is something else, or not a whole number.

    Args:
        text: the number as it was given, trimmed.
        region: where it belongs if it has no international prefix, as ISO 3166-1 alpha-2.
    """
    peeled = phone_in(text)
    number = _read(peeled, region)
    international = _international(peeled)
    if international is not None and not _is_in_use(number):
        abroad = _read(international, None)
        if abroad is not None and phonenumbers.is_valid_number(abroad) and not _is_ambiguous(peeled, abroad):
            number = abroad
    # By length, which changes with a numbering plan; the ranges in use change every few weeks.
    if number is None or phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    form = _formatted(number)
    # A national prefix written twice would be dropped one at a time.
    return form if (peeled, region) == (form, None) or _is_form(form) else None


def _is_form(form: str) -> bool:
    """Tell whether a form reads back as itself."""
    number = _read(form, None)
    return number is not None and _formatted(number) == form


def _international(text: str) -> str | None:
    """Return a text with + where it has `00` or the bare code of a country in front; None: it has neither."""
    if (dialled := _DIALLED.match(text)) is not None:
        return f"+{text[dialled.end() :]}"
    return f"+{text}" if text.isdecimal() and len(text) >= _LEAST_BARE else None


def _is_ambiguous(text: str, abroad: PhoneNumber) -> bool:
    """Tell whether a text without any prefix is another number in use to people who write theirs so."""
    if not text.isdecimal():
        return False
    others = [number for own in _MOBILE if _is_in_use(number := _read(text, own)) and _is_mobile(number)]
    if phonenumbers.normalize_digits_only(text)[0] == "8":
        others += [number for own in _EIGHT if _is_in_use(number := _read(text, own))]
    return any(other != abroad for other in others)


def _is_mobile(number: PhoneNumber | None) -> bool:
    kinds = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    return number is not None and phonenumbers.number_type(number) in kinds


def _is_in_use(number: PhoneNumber | None) -> bool:
    return number is not None and phonenumbers.is_valid_number(number)


def _read(text: str, region: str | None) -> PhoneNumber | None:
    """Return the number that a text is from end to end, renumbered where its country did; None: it is none."""
    whole = _NUMBER.fullmatch(text)
    if whole is None:
        return None
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    # Words and parameters that the library reads as anything but an extension would be dropped, or dialled as digits.
    if whole[1] and not number.extension:
        return None
    return _renumbered(number)


def _formatted(number: PhoneNumber) -> str:
    form: str = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if not number.extension:
        return form
    # format_number has E.164 without the extension.
    return f"{form};ext={phonenumbers.normalize_digits_only(number.extension)}"


def _renumbered(number: PhoneNumber) -> PhoneNumber:
    """Return a number that is not in use as its country has rewritten it, if that one is; else the number itself."""
    rewrite = _REWRITES.get(number.country_code or 0)
    if rewrite is None or (national := rewrite(phonenumbers.national_significant_number(number))) is None:
        return number
    if phonenumbers.is_valid_number(number):
        return number
    newer = phonenumbers.parse(f"+{number.country_code}{national}")
    newer.extension = number.extension
    is_whole = phonenumbers.national_significant_number(newer) == national  # nothing was taken for a prefix
    return newer if is_whole and phonenumbers.is_valid_number(newer) else number


def _mexican(national: str) -> str | None:
    """Since 2019-08-03 mobile numbers have no 1 in front."""
    return national[1:] if len(national) == 11 and national[0] == "1" else None


def _beninese(national: str) -> str | None:
    """Since 2024-11-30 numbers have 01 in front."""
    return f"01{national}" if len(national) == 8 else None


def _brazilian(national: str) -> str | None:
    """Since 2016-11-06 mobile numbers of all areas have a 9 behind the area's code."""
    return f"{national[:2]}9{national[2:]}" if len(national) == 10 and national[2] in "6789" else None


def _ivorian(national: str) -> str | None:
    """Since 2021-01-31 numbers have two digits of their operator in front.

    A mobile number's operator was that of its second digit, a fixed line's that of its third.
    """
    if len(national) != 8:
        return None
    if national[0] in "23":
        return {"0": "25", "8": "21"}.get(national[2], "27") + national
    return ("01", "05", "07")[(int(national[1]) - 1) // 3 if national[1] != "0" else 0] + national


_REWRITES = {52: _mexican, 55: _brazilian, 225: _ivorian, 229: _beninese}
"""What a country's code says of older numbers. Each rewrite is one to one, and its result is no older number."""
