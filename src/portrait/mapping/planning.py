"""Planning: a mapping is checked against the sections and the table, and made ready, before the first row."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from portrait.mapping.faults import BadCell, invalid
from portrait.mapping.fields import Columns, Get, check_texts, constant_moment
from portrait.mapping.language import FieldRule, Mapping
from portrait.mapping.making import RecordPlanning, got, unknown_type
from portrait.mapping.moments import rfc3339
from portrait.mapping.plan import RowPlan
from portrait.mapping.slots import IDENTIFIER, MOMENT, NAME
from portrait.model.source import PUBLIC, is_public
from portrait.sections.registry import Registry
from portrait.tables.table import Cell

MAX_SOURCE = 256
"""The longest name of a source, in characters, as in a bulk."""
_encode = msgspec.json.Encoder().encode


def plan_of(
    mapping: Mapping,
    registry: Registry,
    columns: Sequence[str] | None,
    file: str,
    exported: datetime | None,
    identifier_types: Collection[str],
) -> RowPlan:
    """Return what makes lines of a bulk of the rows of a table.

    Args:
        mapping: what the columns mean.
        registry: the sections.
        columns: the table's columns; None: its rows have names of their own.
        file: the name of the file, without folders.
        exported: the moment of the whole export; None: the mapping may say it.
        identifier_types: the types of identifiers that the tenant knows.

    Raises:
        InvalidMapping: it does not fit; the detail says all that is wrong.
    """
    return _Planning(mapping, registry, columns, file, identifier_types).plan(exported)


class _Planning:
    """The making of one plan; what is wrong adds up in `faults`."""

    def __init__(
        self,
        mapping: Mapping,
        registry: Registry,
        columns: Sequence[str] | None,
        file: str,
        identifier_types: Collection[str],
    ) -> None:
        self._mapping = mapping
        self._registry = registry
        self._types = identifier_types
        self.faults: list[str] = []
        self._columns = Columns(columns, file, mapping.values, self.faults)

    def plan(self, exported: datetime | None) -> RowPlan:
        mapping = self._mapping
        source = mapping.source
        if not 0 < len(source) <= MAX_SOURCE or is_public(source):
            self.faults.append(f"`source` must have 1 to {MAX_SOURCE} characters and not begin with `{PUBLIC}`.")
        check_texts(mapping.values, mapping.values, "`values`", self.faults)
        subject, named_by = self._subject()
        at = None if mapping.at is None else self._moment(mapping.at, "`at`")
        moment = exported or self._exported()
        rules = mapping.rules
        if not rules:
            self.faults.append("It makes no records: give `[attributes]`, `[identifiers]` or `[[records]]`.")
        is_timed = at is not None or moment is not None or mapping.exported is not None
        planning = RecordPlanning(self._columns, self._registry, mapping.source, self._types, self.faults)
        made = [planning.maker(*rule, is_timed=is_timed) for rule in rules]
        makers = [maker for maker in made if maker is not None]
        if planning.untimed:
            self.faults.append(
                f"Nothing says from when the records of {', '.join(planning.untimed)} are true: say when the table was "
                "`exported`, or give `at`."
            )
        if not makers and rules and not self.faults:
            self.faults.append("The table has none of the columns of which it makes records.")
        if self.faults:
            raise invalid(self.faults)
        return RowPlan(
            wanted=self._columns.wanted, subject=subject, named_by=named_by, at=at,
            exported=None if moment is None else _encode(rfc3339(moment)), makers=makers,
        )  # fmt: skip

    def _exported(self) -> datetime | None:
        rule = self._mapping.exported
        if rule is None:
            return None
        try:
            return constant_moment(rule, self._mapping.values)
        except BadCell as error:
            self.faults.append(f"`exported` {error}.")
            return None

    def _moment(self, rule: FieldRule, where: str) -> Get | None:
        return got(self._columns.filled(rule, MOMENT, where))

    def _subject(self) -> tuple[Get, list[str]]:
        """Return what gives the beginning of a row's lines, and the columns that name the customer there."""
        customer = self._mapping.customer
        if (customer.id is None) == (not customer.identifier):
            self.faults.append("`customer` must have either `id` or `identifier`.")
        gets: list[tuple[bytes, Get, bytes]] = []
        names: list[str] = []
        if customer.id is not None:
            named = customer.id
            if get := self._needed(named, "`customer.id`"):
                gets.append((b'{"customerId":', get, b""))
            names += self._columns.present(named)
        for type_, rule in customer.identifier.items():
            where = f"`customer.identifier.{type_}`"
            if type_ not in self._types:
                self.faults.append(unknown_type(type_, self._types, where))
            if get := got(self._columns.filled(rule, IDENTIFIER, where)):
                gets.append((b'{"identifier":{"type":%b,"value":' % _encode(type_), get, b"}"))
            names += self._columns.present(rule)
        if customer.identifier and not gets and not self.faults:
            self.faults.append("`customer.identifier`: the table has none of its columns.")
        return _subject_of(gets), names

    def _needed(self, rule: FieldRule, where: str) -> Get | None:
        """Return what gives a text without which a table says nothing."""
        before = len(self.faults)
        get = got(self._columns.filled(rule, NAME, where))
        if get is None and len(self.faults) == before:
            self.faults.append(f"{where}: the table has none of its columns.")
        return get


def _subject_of(gets: Sequence[tuple[bytes, Get, bytes]]) -> Get:
    """Return what gives the beginning of a row's lines: by the first of several that says something."""

    def subject(cells: Sequence[Cell], number: int) -> bytes | None:
        for prefix, get, end in gets:
            value = get(cells, number)
            if value is not None:
                return prefix + value + end
        return None

    return subject
