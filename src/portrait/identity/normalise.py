"""The form in which identifiers are matched; they are shown as they were given."""

import unicodedata

from portrait.model.identifier import CUSTOMER_ID


def normalise(type_: str, value: str) -> str:
    """Return the form of an identifier's value that is matched.

    `customer_id` never changes. Other values lose white space around them and differences of Unicode composition
    (NFC); of e-mail addresses the case goes too.
    """
    if type_ == CUSTOMER_ID:
        return value
    text = unicodedata.normalize("NFC", value.strip())
    return unicodedata.normalize("NFC", text.casefold()) if type_ == "email" else text
