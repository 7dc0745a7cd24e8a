"""Plans: a mapping made ready for one table, and the lines that it makes of rows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from portrait.mapping.faults import NotMapped, Unmade, not_mapped
from portrait.mapping.fields import Get
from portrait.tables.table import Cell, Row, Unreadable

Moment = bytes | Unmade | None
"""From when a row's records are true, as JSON; or why that cannot be told; None: nothing says it."""


class Member(NamedTuple):
    """A field of a record."""

    prefix: bytes
    """Its name and a colon."""
    get: Get
    is_needed: bool
    """Whether a record without it is left out."""


class RowTest(NamedTuple):
    """What a row must keep to for a record."""

    position: int | None
    """None: the table has no such column, which counts as empty."""
    column: str
    texts: frozenset[str]
    is_among: bool
    """Whether the text must be among these; otherwise it must not."""

    def holds(self, cells: Sequence[Cell]) -> bool:
        """Tell whether a row keeps to it.

        Raises:
            Unmade: the cell cannot be read.
        """
        cell = "" if self.position is None else cells[self.position]
        if isinstance(cell, Unreadable):
            raise Unmade(f"Column `{self.column}` {cell.why}.")
        return ((cell or "").strip().casefold() in self.texts) is self.is_among


class RecordMaker:
    """Makes the line of one record of a row.

    Args:
        section: the section's name as JSON.
        constant: the fields that are the same in each row, as members of a JSON object without its braces.
        members: the other fields.
        tests: what a row must keep to.
        at: gives the moment from when the record is true; None: the row does.
        says_when: tells of a record's JSON whether it says itself when it was true; None: none does.
        is_timed: whether each says that.
        is_identity: whether it names an identifier of the customer's: that which names the customer is left out.
        source: who says it, as JSON.
    """

    def __init__(
        self,
        *,
        section: bytes,
        constant: bytes,
        members: Sequence[Member],
        tests: Sequence[RowTest],
        at: Get | None,
        says_when: Callable[[bytes], bool] | None,
        is_timed: bool,
        is_identity: bool,
        source: bytes,
    ) -> None:
        comma = b"," if constant and members else b""
        self._head = b',"section":%b,"record":{%b%b' % (section, constant, comma)
        self._begin = self._head.index(b"{")
        self._members = tuple(members)
        self._tests = tuple(tests)
        self._at = at
        self._says_when = says_when
        self._is_timed = is_timed
        self._is_identity = is_identity
        self._end = b',"source":%b}' % source

    def line(self, subject: bytes, cells: Sequence[Cell], number: int, moment: Moment) -> bytes | None:
        """Return the line, or None where the row says nothing of it.

        Args:
            subject: the beginning of each line of the row, which names the customer.
            cells: the row's cells.
            number: the row's number.
            moment: from when the row's records are true.

        Raises:
            Unmade: a cell cannot be read.
        """
        for test in self._tests:
            if not test.holds(cells):
                return None
        values = []
        for prefix, get, is_needed in self._members:
            value = get(cells, number)
            if value is not None:
                values.append(prefix + value)
            elif is_needed:
                return None
        if self._members and not values:
            return None
        made = b"%b%b}" % (self._head, b",".join(values))
        if self._is_identity and subject.endswith(made[self._begin :]):
            return None
        at = None if self._at is None else self._at(cells, number)
        if at is None:
            if self._is_timed or (self._says_when is not None and self._says_when(made[self._begin :])):
                return subject + made + self._end
            at = _known(moment)
        return b'%b%b,"effectiveAt":%b%b' % (subject, made, at, self._end)


def _known(moment: Moment) -> bytes:
    if moment is None:
        raise Unmade("Nothing says from when the record is true: say when the table was `exported`.")
    if isinstance(moment, Unmade):
        raise moment
    return moment


class RowPlan:
    """What makes lines of a bulk of the rows of one table.

    Args:
        wanted: the columns that it wants of a row, in order.
        subject: gives the beginning of a row's lines, which names the customer; None: the row names none.
        named_by: the columns that name the customer.
        at: gives the moment from when a row's records are true.
        exported: the moment of the whole export, as JSON.
        makers: what makes each record.
    """

    def __init__(
        self,
        *,
        wanted: Sequence[str],
        subject: Get,
        named_by: Sequence[str],
        at: Get | None,
        exported: bytes | None,
        makers: Sequence[RecordMaker],
    ) -> None:
        self.wanted = tuple(wanted)
        """The columns to ask a reader for, in the order of a row's cells."""
        self.width = len(makers)
        """The most lines that a row makes."""
        self._subject = subject
        self.named_by = tuple(named_by)
        """The columns that name the customer, for what is refused of their values later."""
        self._nobody = _nobody(self.named_by)
        self._at = at
        self._exported = exported
        self._makers = tuple(makers)

    def lines(self, row: Row) -> list[bytes | NotMapped]:
        """Return the lines of a bulk that a row makes, and why it makes no others; each reason once.

        Args:
            row: a row with the cells that are `wanted`.
        """
        if row.fault is not None:
            return [not_mapped(row.fault)]
        cells, number = row.cells, row.number
        try:
            subject = self._subject(cells, number)
        except Unmade as error:
            return [not_mapped(error.detail)]
        if subject is None:
            return [not_mapped(self._nobody)]
        moment = self._moment(cells, number)
        lines: list[bytes | NotMapped] = []
        for maker in self._makers:
            try:
                line = maker.line(subject, cells, number, moment)
            except Unmade as error:
                reason = not_mapped(error.detail)
                if reason not in lines:
                    lines.append(reason)
                continue
            if line is not None:
                lines.append(line)
        return lines

    def _moment(self, cells: Sequence[Cell], number: int) -> Moment:
        if self._at is None:
            return self._exported
        try:
            return self._at(cells, number) or self._exported
        except Unmade as error:
            return error


def _nobody(named_by: Sequence[str]) -> str:
    """Return what is wrong with a row that names no customer."""
    quoted = ", ".join(f"`{name}`" for name in named_by)
    what = f"Column {quoted} names no customer" if len(named_by) == 1 else f"None of {quoted} names a customer"
    return f"{what}: a row needs the customer's id or identifier."
