"""Warnings: what is doubtful about a record that was taken all the same."""

from typing import NamedTuple


class RecordWarning(NamedTuple):
    """One doubt about a record that was taken."""

    code: str
    """Stable, for programs."""
    detail: str
    """What is doubtful, and what would be right; nothing of the record itself."""


UNREADABLE_EMAIL = RecordWarning(
    "unreadable_email", "The value is no e-mail address that can be read: it matches by its text alone."
)
UNREADABLE_PHONE = RecordWarning(
    "unreadable_phone",
    "The value is no phone number that can be read: it is shown, and joins nobody. Write it with + and the country's "
    "code, or set the tenant's region before its first record.",
)
NO_MOMENT = RecordWarning(
    "no_moment",
    "The record does not say when it was true: told again it changes nothing, whatever was told since. Give it its "
    "moment, or the line an `effectiveAt`.",
)
INVALID_PHONE = RecordWarning(
    "invalid_phone",
    "The value is no phone number that is in use in the tenant's region, or one digit over and over: it is shown, and "
    "joins nobody.",
)
NULL_CUSTOMER_ID = RecordWarning(
    "null_customer_id",
    "The customer id is a word for none, such as NULL or 0: whatever is told of it may be many people's, and it is "
    "linked with nothing. Send no record where there is no id, or allow the id in the tenant's `allowedValues`.",
)
APOSTROPHE = RecordWarning(
    "apostrophe",
    "The customer id is a number behind an apostrophe, with which spreadsheets mark texts: it was taken without it.",
)
WARNINGS = (UNREADABLE_EMAIL, UNREADABLE_PHONE, INVALID_PHONE, NULL_CUSTOMER_ID, APOSTROPHE, NO_MOMENT)
"""All warnings, except the reasons for which a rule refuses a link (`identity.rules`)."""
