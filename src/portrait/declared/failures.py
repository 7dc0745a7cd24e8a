"""What a section that fails says to its caller: which kind of failure, and nothing of what lies behind."""

UNREACHABLE = "The source cannot be reached."
REFUSED = "The source has an address that calls may not go to."
NOT_ASKED = "The source could not be asked."
UNUSABLE = "The source answered with something that cannot be shown."
TOO_MANY = "The source has more records than may be shown."
LATE = "The source did not answer in time."
FAILED = "The source failed."
