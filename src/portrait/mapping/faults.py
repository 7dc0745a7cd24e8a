"""What is wrong with a row: a cell that cannot be read, and what is handed on of it."""

from collections.abc import Sequence

import msgspec

from portrait.model.errors import InvalidMapping, InvalidRecord


class BadCell(Exception):
    """A text that has not the form that its column needs: says why, as the end of a sentence that begins with it."""


class Unmade(Exception):
    """A record cannot be made of a row; `detail` is a sentence that names the column."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotMapped(msgspec.Struct, frozen=True, array_like=True):
    """A record that a row does not make, or a row that makes none, since something is wrong with it."""

    code: str
    detail: str
    """What is wrong and what would be right; it names the column."""


def not_mapped(detail: str) -> NotMapped:
    """Return what is handed on of a record that cannot be made."""
    return NotMapped(InvalidRecord.code, detail)


def invalid(all_faults: Sequence[str]) -> InvalidMapping:
    """Return the error that says all faults of a mapping, each a sentence, and each once."""
    faults = tuple(dict.fromkeys(all_faults))
    error = InvalidMapping(f"The mapping is wrong: {' '.join(faults)}")
    error.faults = faults
    return error
