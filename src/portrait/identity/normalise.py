"""The form in which identifiers are matched; answers show the original value.

Two ways of writing one address or number get one form. Where a library refuses a text, the text itself is the form: a
missed match can be recorded as a link, while two people taken for one go unseen. So nothing is guessed.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

import phonenumbers
from email_validator import validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

from portrait.model.identifier import CUSTOMER_ID, length_fault

MAX_EMAIL = 254
"""The longest e-mail address, in octets: a path of 256 (RFC 5321, 4.5.3.1.3) without its angle brackets."""
MAX_LABEL = 63
"""The longest label of a domain, in octets (RFC 1035, 2.3.4): a label of more characters is not read."""
MAX_LABELS = 10
"""The most labels of a domain that is read: the DNS has room for 127, and IDNA takes its time for each."""
MAX_PHONE = 64
"""The longest text that is read as a phone number, in characters: `phonenumbers` goes over blanks many times."""
_KEPT = 4096
"""How many forms of each type are kept. A record's is asked for more than once, and mail and numbers come again."""

_WHITE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What `str.isspace` takes for white space."""
_INVISIBLE = "\u200b\u2060\ufeff\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Zero-width spaces and marks of direction, which come along when a text is copied. Joiners belong to their letters."""
_AROUND = _WHITE + _INVISIBLE
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""The full stops of domains (UTS 46)."""
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_NUMBER = re.compile(r"(?:tel:)?(?:\d|[^\w;])+((?:;|[^\W\d_])\D*\d+\W*)?", re.IGNORECASE)
"""A text that is a phone number from end to end: digits and signs, then perhaps a label and an extension."""


def normalise(type_: str, value: str, region: str | None = None) -> str:
    """Return the form of an identifier's value that is matched; empty where nothing visible was given.

    `customer_id` never changes. Other values lose white space and invisible marks around them and differences of
    Unicode composition (NFC). Besides, by type:

    - `email`: the local part loses its case and needless quotes, the domain is that of the DNS;
    - `phone`: E.164, where the text is a number of a possible length; `;ext=` and the extension follow;
    - `device_id`: UUIDs are in lower case.

    A form's form is itself. Nothing is raised: what is no address or number matches by its text, an e-mail's without
    its case. `docs/reference/identifiers.md` says why, and by which standards. A value that is longer than any may be
    stays as it is, before anything is made of it: `value_fault` refuses it.

    Args:
        type_: the identifier's type, built in or the tenant's own.
        value: as it was given.
        region: where phone numbers without an international prefix belong, as ISO 3166-1 alpha-2; one that
            `region_fault` refuses counts as none.
    """
    if type_ == CUSTOMER_ID or length_fault(value):
        return value
    text = normalize("NFC", value.strip(_AROUND))
    if type_ == "email":
        return _email(text)
    if type_ == "phone":
        return (_phone(text, region) if len(text) <= MAX_PHONE else None) or text
    return text.lower() if type_ == "device_id" and _UUID.fullmatch(text) else text


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
    if len(form) > MAX_PHONE or _phone(form, None) != form:
        return None
    number = phonenumbers.parse(form)
    return Number(
        number.country_code or 0,
        phonenumbers.national_significant_number(number),
        phonenumbers.is_valid_number(number),
    )


def is_readable(type_: str, form: str) -> bool:
    """Tell whether a form could be read as the e-mail address or phone number that its type says.

    Forms of all other types are readable.
    """
    if type_ == "phone":
        return number_of(form) is not None
    return type_ != "email" or (_may_be_address(form) and _address(form) is not None)


def region_fault(region: str) -> str | None:
    """Return the rule that a default region of phone numbers breaks, or None."""
    if not re.fullmatch("[A-Z]{2}", region):
        return "must be two capital letters: a code of ISO 3166-1 alpha-2"
    if region not in phonenumbers.SUPPORTED_REGIONS:
        return "must be a country or territory that has telephone numbers"
    return None


def _may_be_address(text: str) -> bool:
    """Tell whether a text is so short, and its domain of so few and short labels, that it is worth reading."""
    if length_fault(text, MAX_EMAIL):
        return False
    labels = _DOTS.split(text.rpartition("@")[2])
    return len(labels) <= MAX_LABELS and max(map(len, labels)) <= MAX_LABEL


def _folded(text: str) -> str:
    """Return a text without its case, such that texts equal but for case and composition are equal (Unicode, D145)."""
    return normalize("NFC", normalize("NFD", text).casefold())


def _email(text: str) -> str:
    form = _address(text) if _may_be_address(text) else None
    if form is not None:
        return form
    # What is refused is tried without its case too: else the form could be an address of another form.
    folded = _folded(text)
    return (_address(folded) if _may_be_address(folded) else None) or folded


@lru_cache(maxsize=_KEPT)
def _address(text: str) -> str | None:
    """Return an address's form. The domain is in ASCII (A-labels), which is how the DNS compares it.

    None: it is no address of RFC 5321 or 6531, or its domain is kept for special use.
    """
    try:
        address = validate_email(
            text,
            allow_smtputf8=True,
            allow_empty_local=False,
            allow_quoted_local=True,
            allow_domain_literal=True,
            allow_display_name=False,
            strict=False,
            check_deliverability=False,
            test_environment=False,
            globally_deliverable=False,
        )
    except ValueError:  # the library's own, and what Unicode's and IDNA's codecs raise below it
        return None
    return f"{_folded(address.local_part)}@{address.ascii_domain}"


@lru_cache(maxsize=_KEPT)
def _phone(text: str, region: str | None) -> str | None:
    """Return a number's form; None where the text is something else, or not a whole number."""
    try:
        form = _e164(text, region)
        # A national prefix written twice would be dropped one at a time.
        return form if form is not None and ((text, region) == (form, None) or _e164(form, None) == form) else None
    except NumberParseException:
        return None


def _e164(text: str, region: str | None) -> str | None:
    """Return a number's form; None where the text is something else, or not a whole number.

    Raises:
        NumberParseException: the library reads no number in it.
    """
    whole = _NUMBER.fullmatch(text)
    if whole is None:
        return None
    number = phonenumbers.parse(text, region)
    # Words and parameters that the library reads as anything but an extension would be dropped, or dialled as digits.
    if whole[1] and not number.extension:
        return None
    # By length, which changes with a numbering plan; the ranges in use change every few weeks.
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    form = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if not number.extension:
        return form
    # format_number has E.164 without the extension.
    return f"{form};ext={phonenumbers.normalize_digits_only(number.extension)}"
