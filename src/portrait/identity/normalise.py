"""The form in which identifiers are matched; answers show the original value.

Two ways of writing one address or number get one form. Where a library refuses a text, the text itself is the form: a
missed match can be recorded as a link, while two people taken for one go unseen. So nothing is guessed.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

from email_validator import validate_email

from portrait.identity.forms import Form, folded, formed, uuid
from portrait.identity.phones import MAX_PHONE, number_of, phone_form
from portrait.identity.spellings import INVISIBLE, WHITE, addresses_in, half_width
from portrait.model.identifier import CUSTOMER_ID, Identifier, length_fault

MAX_EMAIL = 254
"""The longest e-mail address, in octets: a path of 256 (RFC 5321, 4.5.3.1.3) without its angle brackets."""
MAX_LABEL = 63
"""The longest label of a domain, in octets (RFC 1035, 2.3.4): a label of more characters is not read."""
MAX_LABELS = 10
"""The most labels of a domain that is read: the DNS has room for 127, and IDNA takes its time for each."""
_KEPT = 4096
"""How many addresses' forms are kept. A record's is asked for more than once, and mail comes again."""

_AROUND = WHITE + INVISIBLE
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""The full stops of domains (UTS 46)."""


def normalise(type_: str, value: str, region: str | None = None, form: Form | None = None) -> str:
    """Return the form of an identifier's value that is matched; empty where nothing visible was given.

    `customer_id` never changes. Other values lose white space and invisible marks around them and differences of
    Unicode composition (NFC). Besides, by type:

    - `email`: the local part loses its case and needless quotes, the domain is that of the DNS;
    - `phone`: E.164, where the text is a number of a possible length; `;ext=` and the extension follow;
    - `device_id`: UUIDs are in lower case, with hyphens;
    - a type of the tenant's own: the form that the tenant's rules give it.

    A form's form is itself. Nothing is raised: what is no address or number matches by its text, an e-mail's without
    its case. `docs/reference/identifiers.md` says why, and by which standards. A value that is longer than any may be
    stays as it is, before anything is made of it: `value_fault` refuses it.

    Args:
        type_: the identifier's type, built in or the tenant's own.
        value: as it was given.
        region: where phone numbers without an international prefix belong, as ISO 3166-1 alpha-2; one that
            `region_fault` refuses counts as none.
        form: the form of a type of the tenant's own; None: the text as it is.
    """
    if type_ == CUSTOMER_ID or length_fault(value):
        return value
    text = normalize("NFC", value.strip(_AROUND))
    if type_ == "email":
        return _email(text)
    if type_ == "phone":
        return (phone_form(text, region) if len(text) <= MAX_PHONE else None) or text
    return uuid(text) if type_ == "device_id" else formed(text, form)


class Forms(NamedTuple):
    """In which forms a tenant's identifiers match."""

    region: str | None = None
    """Where phone numbers without an international prefix belong, as ISO 3166-1 alpha-2."""
    own: Mapping[str, Form] = {}
    """The forms of the tenant's own types; the texts of others are theirs."""

    def of(self, type_: str, value: str) -> Identifier:
        """Return the identifier of a value as it was given."""
        return Identifier(type_, normalise(type_, value, self.region, self.own.get(type_)))


def is_readable(type_: str, form: str) -> bool:
    """Tell whether a form could be read as the e-mail address or phone number that its type says.

    Forms of all other types are readable.
    """
    if type_ == "phone":
        return number_of(form) is not None
    return type_ != "email" or (_may_be_address(form) and _address(form) is not None)


def _may_be_address(text: str) -> bool:
    """Tell whether a text is so short, and its domain of so few and short labels, that it is worth reading."""
    if length_fault(text, MAX_EMAIL):
        return False
    labels = _DOTS.split(text.rpartition("@")[2])
    return len(labels) <= MAX_LABELS and max(map(len, labels)) <= MAX_LABEL


def _email(text: str) -> str:
    """Return an address's form; where a text holds no address, the text without its case.

    What is refused is tried without its case too: else the form could be an address of another form.
    """
    half = half_width(text)
    for spelling in (half, text) if half != text else (text,):
        form = _address_of(spelling) or _address_of(folded(spelling))
        if form is not None:
            return form
    plain = folded(text)
    return next((form for peeled in addresses_in(plain) if (form := _address_of(peeled)) is not None), plain)


def _address_of(text: str) -> str | None:
    return _address(text) if _may_be_address(text) else None


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
    return f"{folded(address.local_part)}@{address.ascii_domain}"
