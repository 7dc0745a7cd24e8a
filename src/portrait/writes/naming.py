"""Whom a record names: its identifiers, in the forms in which a tenant's rules match, and what is doubtful there."""

import re
from functools import lru_cache, partial
from typing import NamedTuple

from portrait.identity import rules
from portrait.identity.normalise import is_readable
from portrait.identity.rules import Rules
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
from portrait.sections.ranks import with_rank
from portrait.sections.record import Record
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import GivenIdentifier, Incoming, Linked

MAX_NAMED = 20
"""The most types of identifiers that a refusal names."""
PHONE = "phone"
"""The type whose form depends on the tenant's region."""
_KEPT = 256
"""So many subjects are kept: of the lines of a file many say something of the same customer, one after the other."""

_READ = frozenset({"email", PHONE})
_FIXED = rules.DEFAULT_TYPES.keys() - {PHONE}
"""The types whose forms depend on no rules of the tenant's."""
_UNCERTAIN = (
    "The identifier may belong to several people: no record can be about a phone that is not a whole and valid number, "
    "or an e-mail that is not an address. Name another identifier, or write the number with + and the country code."
)
_OF_FORMS = frozenset({INVALID_PHONE, NULL_CUSTOMER_ID, UNREADABLE_EMAIL, UNREADABLE_PHONE})
_APOSTROPHE = re.compile(r"'(?=\+?\d+\Z)", re.ASCII)


class Subject(NamedTuple):
    """An identifier of which something is said."""

    named: GivenIdentifier
    doubts: tuple[RecordWarning, ...]
    """What is doubtful about it."""
    fault: str | None
    """Why nothing can be said of it; None: something can."""

    def hold(self) -> None:
        """Hold that something can be said of it.

        Raises:
            BlockedIdentifier: its value, no phone's, may be several people's; or it is a word for none in what another
                system wrote.
        """
        if self.fault is not None:
            raise BlockedIdentifier(self.fault)


class Naming:
    """Names under one tenant's rules.

    Args:
        tenant: the tenant.
        is_export: whether names come from a file that some other system wrote: words for none are no customer ids then.
    """

    def __init__(self, tenant: TenantRow, *, is_export: bool = False) -> None:
        self._key_secret = tenant.key_secret
        self._rules = rules.read(tenant.rules)
        self.hashed = self._rules.hashed
        """The types of clear values of which the tenant has a type of hashes."""
        self.subject = lru_cache(_KEPT)(partial(_subject, self._rules, is_export=is_export))
        """Returns what `named` does, and what can be said of it."""

    def named(self, type_: str, value: str) -> GivenIdentifier:
        """Return an identifier in the form in which it is matched, beside its value as it was given.

        Raises:
            InvalidRecord: the value breaks its rule: that of names, for a customer id, or of length.
            UnknownIdentifierType: the tenant knows no such type.
            BlockedIdentifier: the value says nothing of a person.
        """
        return _named(self._rules, type_, value)

    def keyed(self, record: Record | None, parsed: Parsed, section: StoredSection) -> tuple[Parsed, Identifier | None]:
        """Return the identifier that a record names, if any, and the record under the key that this gives it."""
        if not isinstance(record, Identity):
            return parsed, None
        other = identifier_of(record, self._rules.forms)
        return parsed._replace(key=section.key(tuple(other), self._key_secret)), other

    def linked(self, record: Record, parsed: Parsed, section: StoredSection) -> tuple[Parsed, Linked | None]:
        """Return what `keyed` does, the identifier as it was given and with how sure the record is of it.

        Raises:
            InvalidRecord: the identifier's value breaks its rule.
        """
        if not isinstance(record, Identity):
            return parsed, None
        parsed, other = self.keyed(record, parsed, section)
        assert other is not None
        if fault := value_fault(other, record.value):
            raise InvalidRecord(f"Field `value`{': a customer id' if other.type == CUSTOMER_ID else ''} {fault}.")
        return parsed, Linked(GivenIdentifier(other, record.value), record.confidence)

    def ranked(self, parsed: Parsed, section: StoredSection, source: str | None) -> Parsed:
        """Return a record as it is kept: with its source's rank, where its section goes by that."""
        if not section.ranked:
            return parsed
        return parsed._replace(body=with_rank(parsed.body, self._rules.rank(source)))

    def doubts(self, subject: Subject, linked: Linked | None) -> tuple[RecordWarning, ...]:
        """Return what is doubtful about the identifiers that a record names."""
        if linked is None:
            return subject.doubts
        return tuple(dict.fromkeys((*subject.doubts, *_doubts_of_form(self._rules, linked.named))))

    def anew(self, incoming: Incoming) -> Incoming:
        """Return a record, or the end of one, as it is under these rules, where it may have been named under others.

        Raises:
            InvalidRecord, BlockedIdentifier: as `named` and `linked`; or a phone that it is told of may be several
                people's.
        """
        subject = self.subject(incoming.identifier.type, incoming.named.value)
        identifier = subject.named.identifier
        if incoming.op is Op.DELETE:
            parsed, _ = self.keyed(incoming.parsed.named_by, incoming.parsed, incoming.section)
            return incoming._replace(identifier=identifier, parsed=parsed)
        if self._rules.is_uncertain(identifier):
            raise BlockedIdentifier(_UNCERTAIN)
        parsed, linked = self.linked(incoming.record, incoming.parsed, incoming.section)
        warnings = (*(each for each in incoming.warnings if each not in _OF_FORMS), *self.doubts(subject, linked))
        return incoming._replace(identifier=identifier, parsed=parsed, linked=linked, warnings=warnings)


def _named(policy: Rules, type_: str, value: str) -> GivenIdentifier:
    if not policy.knows(type_):
        known = ", ".join(list(policy.all_types)[:MAX_NAMED])
        raise UnknownIdentifierType(
            f"This tenant does not know this type of identifier. Known types: {known}. An administrator can add "
            "types to the tenant's identity rules."
        )
    identifier = policy.forms.of(type_, value)
    if fault := value_fault(identifier, value):
        raise InvalidRecord(f"The {'customer id' if type_ == CUSTOMER_ID else 'value of the identifier'} {fault}.")
    if policy.blocks(identifier, value) and not policy.is_null_id(identifier):
        raise BlockedIdentifier("The identifier's value is empty, a placeholder or blocked: no record can be about it.")
    return GivenIdentifier(identifier, value)


def _subject(policy: Rules, type_: str, value: str, *, is_export: bool) -> Subject:
    named = _named(policy, type_, value)
    is_null_id = policy.is_null_id(named.identifier)
    fault = None
    if is_export and is_null_id:
        fault = NULL_CUSTOMER_ID.detail
    elif type_ != PHONE and policy.is_uncertain(named.identifier):  # of a phone the region that holds then decides
        fault = _UNCERTAIN
    of_null = (NULL_CUSTOMER_ID,) if is_null_id else ()
    return Subject(named, of_null + _doubts_of_form(policy, named), fault)


def _doubts_of_form(policy: Rules, named: GivenIdentifier) -> tuple[RecordWarning, ...]:
    """Return what is doubtful about an identifier whose value is read."""
    identifier, value = named
    if identifier.type not in _READ or policy.blocks(identifier, value):
        return ()
    if not is_readable(*identifier):
        return (UNREADABLE_EMAIL if identifier.type == "email" else UNREADABLE_PHONE,)
    return (INVALID_PHONE,) if policy.is_uncertain(identifier) else ()


def depends_on_rules(incoming: Incoming) -> bool:
    """Tell whether the forms of the identifiers that a record or its end names depend on the tenant's rules."""
    if incoming.identifier.type not in _FIXED:
        return True
    if incoming.op is Op.PUT:
        return incoming.linked is not None and incoming.linked.named.identifier.type not in _FIXED
    named_by = incoming.parsed.named_by
    return isinstance(named_by, Identity) and named_by.type not in _FIXED


def without_apostrophe(customer_id: str) -> str:
    """Return a customer id without the apostrophe that spreadsheets put before a number that is a text."""
    return _APOSTROPHE.sub("", customer_id)
