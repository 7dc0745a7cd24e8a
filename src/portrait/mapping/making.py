"""Making: what a mapping says of a record is checked against the record's section, and made ready."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from portrait.mapping.fields import NOTHING, Columns, Filled, Get
from portrait.mapping.language import Condition, FieldRule, RecordRule
from portrait.mapping.plan import Member, RecordMaker, RowTest
from portrait.mapping.slots import ANYTHING, MOMENT, slots_of
from portrait.mapping.toml import nearest
from portrait.model.errors import PortraitError
from portrait.sections.base import StoredSection
from portrait.sections.identities import Identity
from portrait.sections.record import Field, Record
from portrait.sections.registry import Registry

_encode = msgspec.json.Encoder().encode


class _Form(NamedTuple):
    """The form of the records of a rule."""

    section: StoredSection
    member: type[Record]
    fields: Sequence[Field]
    tag: str | None
    """The field whose constant says which type of records it is; None: there is only this type."""

    @property
    def needed(self) -> frozenset[str]:
        """The fields without which there is no record: the schema's, and those that its key is made of."""
        key = self.section.key_fields[self.member]
        return frozenset(field.name for field in self.fields if field.required or field.attribute in key)


class RecordPlanning:
    """Makes the records of a mapping ready; what is wrong adds up in its faults.

    Args:
        columns: the table's columns.
        registry: the sections.
        source: who says what the rows say.
        types: the types of identifiers that the tenant knows.
        faults: what is wrong, which this adds to.
    """

    def __init__(
        self, columns: Columns, registry: Registry, source: str, types: Collection[str], faults: list[str]
    ) -> None:
        self._columns = columns
        self._registry = registry
        self._source = _encode(source)
        self._types = types
        self._faults = faults
        self.untimed: list[str] = []
        """Where records stand of which nothing says from when they are true."""

    def maker(self, rule: RecordRule, where: str, is_short: bool, *, is_timed: bool) -> RecordMaker | None:  # noqa: FBT001
        """Return what makes a record; None where the table has nothing for it, or something is wrong.

        Args:
            rule: the record.
            where: where in the mapping it stands.
            is_short: whether that is a short form, which has one field alone.
            is_timed: whether something says from when all records are true.
        """
        before = len(self._faults)
        form = self._form(rule, where)
        if form is None:
            return None
        filled = self._filled(rule, form, where, is_short=is_short)
        tests = [self._test(condition, where) for condition in rule.when]
        at = None if rule.at is None else got(self._columns.filled(rule.at, MOMENT, f"{where}, `at`"))
        timing = [each for each in form.fields if each.is_timestamp and filled.get(each.name, NOTHING) != NOTHING]
        says_when = _own_moment(form.section) if timing and form.section.effective else None
        if at is None and not is_timed and says_when is None:
            self.untimed.append(where)
        if len(self._faults) > before or any(filled.get(name) == NOTHING for name in form.needed):
            return None
        constants = [
            _encode(name) + b":" + source.constant for name, source in filled.items() if source.constant is not None
        ]
        members = [
            Member(_encode(name) + b":", source.get, name in form.needed)
            for name, source in sorted(filled.items(), key=lambda each: not rule.fields[each[0]].required)
            if source.get is not None
        ]
        if form.tag is not None:
            constants.insert(0, _encode({form.tag: form.member.__struct_config__.tag})[1:-1])
        return RecordMaker(
            section=_encode(form.section.name), constant=b",".join(constants), members=members, tests=tests, at=at,
            says_when=says_when, is_timed=says_when is not None and _is_always_timed(form, timing),
            is_identity=form.member is Identity, source=self._source,
        )  # fmt: skip

    def _form(self, rule: RecordRule, where: str) -> _Form | None:
        section = self._registry.find_stored(rule.section)
        if section is None:
            near = nearest(
                rule.section, [each.name for each in self._registry.all_stored()], "sections that take records"
            )
            self._faults.append(f"{where}: there is no section `{rule.section}` that takes records. {near}")
            return None
        members = section.shape.members
        tag = members[0].__struct_config__.tag_field
        if tag is None:
            return _Form(section, members[0], section.shape.fields[members[0]], None)
        by_tag = {str(member.__struct_config__.tag): member for member in members}
        kind = rule.fields.get(tag, FieldRule()).value
        member = by_tag.get(kind) if isinstance(kind, str) else None
        if member is None:
            self._faults.append(f"{where}: field `{tag}` must have a `value`, one of: {', '.join(by_tag)}.")
            return None
        return _Form(section, member, section.shape.fields[member], tag)

    def _filled(self, rule: RecordRule, form: _Form, where: str, *, is_short: bool) -> dict[str, Filled]:
        """Return what fills each field of a record but the tag."""
        slots = slots_of(form.section, form.member)
        filled = {}
        for name, source in rule.fields.items():
            at = where if is_short else f"{where}, field `{name}`"
            if name == form.tag:
                continue
            if name not in slots and form.section.shape.extras is None:
                near = nearest(name, slots, "fields")
                self._faults.append(f"{where}: section `{form.section.name}` has no field `{name}`. {near}")
                continue
            filled[name] = self._columns.filled(source, slots.get(name, ANYTHING), at)
            if form.member is Identity and name == "type":
                self._check_types(source, at)
        for field in form.fields:
            if field.required and field.name not in rule.fields:
                self._faults.append(f"{where}: section `{form.section.name}` requires the field `{field.name}`.")
        return filled

    def _check_types(self, field: FieldRule, where: str) -> None:
        named = [*field.words.values(), *field.file.values(), *(() if field.value is UNSET else (field.value,))]
        for type_ in named:
            if type_ != "" and type_ not in self._types:
                self._faults.append(unknown_type(str(type_), self._types, where))

    def _test(self, condition: Condition, where: str) -> RowTest:
        at = f"{where}, `when`"
        if (condition.among is UNSET) == (condition.except_for is UNSET):
            self._faults.append(f"{at}: a condition has either `is` or `not`.")
        texts = condition.except_for if condition.among is UNSET else condition.among
        index = self._columns.index(condition.column, at, optional=condition.optional)
        folded = frozenset(text.strip().casefold() for text in texts or ())
        return RowTest(index, condition.column, folded, condition.among is not UNSET)


def got(filled: Filled) -> Get | None:
    """Return what gives a field's value from a row, whether it is the same in each or not; None: there is none."""
    constant = filled.constant
    return filled.get if constant is None else lambda _cells, _number: constant


def unknown_type(type_: str, known: Collection[str], where: str) -> str:
    """Return what is wrong with a type of identifier that the tenant does not know."""
    return f"{where}: the tenant's rules know no type of identifier `{type_}`. {nearest(type_, sorted(known), 'types')}"


def _own_moment(section: StoredSection) -> Callable[[bytes], bool]:
    """Return what tells whether a record, as JSON, says when it was true; of one that is refused anyway it says yes."""
    effective = section.effective
    assert effective is not None

    def says_when(raw: bytes) -> bool:
        try:
            record = section.shape.parse(raw)
            with section.own_code():
                return effective(record) is not None
        except PortraitError:
            return True

    return says_when


def _is_always_timed(form: _Form, timing: Sequence[Field]) -> bool:
    """Tell whether each record that is made says when it was true: by a field that the schema requires.

    A record is tried whose moments all differ.
    """
    effective = form.section.effective
    assert effective is not None
    moments = {
        field.attribute: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=number)
        for number, field in enumerate(timing)
        if field.required
    }
    values: Mapping[str, Any] = {field.attribute: moments.get(field.attribute, "") for field in form.fields}
    try:
        with form.section.own_code():
            return effective(form.member(**values)) in moments.values()
    except PortraitError:
        return False
