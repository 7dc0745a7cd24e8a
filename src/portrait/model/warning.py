"""Warnings: what is doubtful about a record that was taken all the same."""

from typing import NamedTuple


class RecordWarning(NamedTuple):
    """One doubt about a record that was taken."""

    code: str
    """Stable, for programs."""
    detail: str
    """What is doubtful, and what would be right; nothing of the record itself."""


UNREADABLE_EMAIL = RecordWarning(
    "unreadable_email", "The value is not a readable e-mail address: it is matched as plain text."
)
UNREADABLE_PHONE = RecordWarning(
    "unreadable_phone",
    "The value is not a readable phone number: it is shown, but links nobody. Write it with + and the country code, "
    "or set the tenant's region.",
)
NO_MOMENT = RecordWarning(
    "no_moment",
    "The record does not say since when it is true: sent again it changes nothing, whatever was recorded since. "
    "Give the record its own moment, or the line an `effectiveAt`.",
)
INVALID_PHONE = RecordWarning(
    "invalid_phone",
    "The value is not a phone number in use in the tenant's region, or repeats one digit: it is shown, but links "
    "nobody.",
)
NULL_CUSTOMER_ID = RecordWarning(
    "null_customer_id",
    "The customer id is a word for a missing value, such as NULL or 0: its records may be of many people, and it is "
    "linked with nothing. Leave out records without a customer id, or allow the id in the tenant's "
    "`allowedValues`.",
)
APOSTROPHE = RecordWarning(
    "apostrophe",
    "The customer id is a number behind an apostrophe, with which spreadsheets mark texts: the apostrophe was left "
    "out.",
)
WARNINGS = (UNREADABLE_EMAIL, UNREADABLE_PHONE, INVALID_PHONE, NULL_CUSTOMER_ID, APOSTROPHE, NO_MOMENT)
"""All warnings, except the reasons for which a rule refuses a link (`identity.rules`)."""
