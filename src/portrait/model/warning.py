"""Warnings: what there is to know about a record that was taken all the same."""

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
    "The value is no phone number that can be read: it matches by its text alone. Write it with + and the country's "
    "code, or set the tenant's region before its first record.",
)
NO_MOMENT = RecordWarning(
    "no_moment",
    "The record does not say when it was true: told again it changes nothing, whatever was told since. Give it its "
    "moment, or the line an `effectiveAt`.",
)
WARNINGS = (UNREADABLE_EMAIL, UNREADABLE_PHONE, NO_MOMENT)
"""All there are, but for the reasons for which a rule refuses a link (`identity.rules`)."""
