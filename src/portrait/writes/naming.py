"""Whom a record names: its identifiers, in the forms in which a tenant's rules match, and what is doubtful there."""

import re
from collections.abc import Iterator

from portrait.identity import rules
from portrait.identity.normalise import is_readable, normalise
from portrait.model.errors import BlockedIdentifier, InvalidRecord, UnknownIdentifierType
from portrait.model.fact import Op
from portrait.model.identifier import CUSTOMER_ID, Identifier, value_fault
from portrait.model.warning import (
    INVALID_PHONE,
    NULL_CUSTOMER_ID,
    UNREADABLE_EMAIL,
    UNREADABLE_PHONE,
    RecordWarning,
)
from portrait.sections.base import Parsed, StoredSection
from portrait.sections.identities import Identity, identifier_of
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import GivenIdentifier, Incoming, Linked

MAX_NAMED = 20
"""The most types of identifiers that a refusal names."""
PHONE = "phone"
"""The type whose form depends on the tenant's region."""

_READ = frozenset({"email", PHONE})
_OF_FORMS = frozenset({INVALID_PHONE, NULL_CUSTOMER_ID, UNREADABLE_EMAIL, UNREADABLE_PHONE})
_APOSTROPHE = re.compile(r"'(?=\+?\d+\Z)", re.ASCII)


class Naming:
    """Names under one tenant's rules.

    Args:
        tenant: the tenant.
        is_export: whether names come from a file that some other system wrote: words for none are no customer ids then.
    """

    def __init__(self, tenant: TenantRow, *, is_export: bool = False) -> None:
        self._key_secret = tenant.key_secret
        self._rules = rules.read(tenant.rules)
        self._is_export = is_export

    def named(self, type_: str, value: str) -> GivenIdentifier:
        """Return an identifier in the form in which it is matched, beside its value as it was given.

        Raises:
            InvalidRecord: the value breaks its rule: that of names, for a customer id, or of length.
            UnknownIdentifierType: the tenant knows no such type.
            BlockedIdentifier: the value says nothing of a person.
        """
        if not self._rules.knows(type_):
            known = ", ".join(list(self._rules.all_types)[:MAX_NAMED])
            raise UnknownIdentifierType(
                f"This tenant does not know this type of identifier. Known types: {known}. An administrator can add "
                "types to the tenant's identity rules."
            )
        identifier = Identifier(type_, normalise(type_, value, self._rules.region))
        if fault := value_fault(identifier, value):
            raise InvalidRecord(f"The {'customer id' if type_ == CUSTOMER_ID else 'value of the identifier'} {fault}.")
        if self._rules.blocks(identifier, value) and not self._rules.is_null_id(identifier):
            raise BlockedIdentifier(
                "The identifier's value is empty, a placeholder or blocked: no record can be about it."
            )
        return GivenIdentifier(identifier, value)

    def hold_subject(self, named: GivenIdentifier) -> None:
        """Hold that something can be told of an identifier.

        Of a phone the region that holds when it is stored decides: see `anew`.

        Raises:
            BlockedIdentifier: its value, no phone's, may be several people's; or it is a word for none in what another
                system wrote.
        """
        if self._is_export and self._rules.is_null_id(named.identifier):
            raise BlockedIdentifier(NULL_CUSTOMER_ID.detail)
        if named.identifier.type != PHONE:
            self._hold_certain(named)

    def _hold_certain(self, named: GivenIdentifier) -> None:
        if self._rules.is_uncertain(named.identifier):
            raise BlockedIdentifier(
                "The identifier may belong to several people: no record can be about a phone that is not a whole "
                "and valid number, or an e-mail that is not an address. Name another identifier, or write the "
                "number with + and the country code."
            )

    def keyed(self, parsed: Parsed, section: StoredSection) -> tuple[Parsed, Identifier | None]:
        """Return the identifier that a record names, if any, and the record under the key that this gives it."""
        if not isinstance(parsed.record, Identity):
            return parsed, None
        other = identifier_of(parsed.record, self._rules.region)
        return parsed._replace(key=section.key(tuple(other), self._key_secret)), other

    def linked(self, parsed: Parsed, section: StoredSection) -> tuple[Parsed, Linked | None]:
        """Return what `keyed` does, the identifier as it was given and with how sure the record is of it.

        Raises:
            InvalidRecord: the identifier's value breaks its rule.
        """
        parsed, other = self.keyed(parsed, section)
        if other is None:
            return parsed, None
        record = parsed.record
        assert isinstance(record, Identity)
        if fault := value_fault(other, record.value):
            raise InvalidRecord(f"Field `value`{': a customer id' if other.type == CUSTOMER_ID else ''} {fault}.")
        return parsed, Linked(GivenIdentifier(other, record.value), record.confidence)

    def doubts(self, named: GivenIdentifier, linked: Linked | None) -> tuple[RecordWarning, ...]:
        """Return what is doubtful about the identifiers that a record names."""
        warnings = [NULL_CUSTOMER_ID] if self._rules.is_null_id(named.identifier) else []
        for identifier, value in (named, linked.named) if linked else (named,):
            if identifier.type in _READ and not self._rules.blocks(identifier, value):
                warnings += self._of_form(identifier)
        return tuple(dict.fromkeys(warnings))

    def anew(self, incoming: Incoming) -> Incoming:
        """Return a record, or the end of one, as it is under these rules, where it may have been named under others.

        Raises:
            InvalidRecord, BlockedIdentifier: as `named` and `linked`; or a phone that it is told of may be several
                people's.
        """
        named = self.named(incoming.identifier.type, incoming.named.value)
        if incoming.op is Op.DELETE:
            return incoming._replace(
                identifier=named.identifier, parsed=self.keyed(incoming.parsed, incoming.section)[0]
            )
        self._hold_certain(named)
        parsed, linked = self.linked(incoming.parsed, incoming.section)
        warnings = (*(each for each in incoming.warnings if each not in _OF_FORMS), *self.doubts(named, linked))
        return incoming._replace(identifier=named.identifier, parsed=parsed, linked=linked, warnings=warnings)

    def _of_form(self, identifier: Identifier) -> Iterator[RecordWarning]:
        if not is_readable(*identifier):
            yield UNREADABLE_EMAIL if identifier.type == "email" else UNREADABLE_PHONE
        elif self._rules.is_uncertain(identifier):
            yield INVALID_PHONE


def depends_on_region(incoming: Incoming) -> bool:
    """Tell whether the forms of the identifiers that a record or its end names depend on the tenant's region."""
    record = incoming.parsed.record
    return incoming.identifier.type == PHONE or (isinstance(record, Identity) and record.type == PHONE)


def without_apostrophe(customer_id: str) -> str:
    """Return a customer id without the apostrophe that spreadsheets put before a number that is a text."""
    return _APOSTROPHE.sub("", customer_id)
