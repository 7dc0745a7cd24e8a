"""Portrait's own formats: the records of one section, and the lines of a bulk."""

import re
from collections.abc import Iterable, Iterator

import msgspec

from portrait import request
from portrait.failures import Failures
from portrait.identity import rules
from portrait.identity.normalise import is_readable, normalise
from portrait.incoming import LINK_WEIGHT, Incoming, Linked, Named
from portrait.ingest.streams import MAX_LINE
from portrait.model import strict_json, time
from portrait.model.errors import (
    BlockedIdentifier,
    BodyTooLarge,
    InvalidParameter,
    InvalidRecord,
    InvalidRequest,
    SectionFailed,
    UnknownIdentifierType,
)
from portrait.model.fact import Op
from portrait.model.identifier import CUSTOMER_ID, Identifier, value_fault
from portrait.model.warning import UNREADABLE_EMAIL, UNREADABLE_PHONE, RecordWarning
from portrait.recording import Refusal
from portrait.sections.base import Parsed, StoredSection
from portrait.sections.identities import Identity, identifier_of
from portrait.sections.registry import Registry
from portrait.storage.contract import Tenant

MAX_RECORDS = 2000
"""The most records in one request for a customer's section."""
MAX_LINKS = MAX_RECORDS // LINK_WEIGHT
"""The most of these that link identifiers: an array is one transaction, and others wait for it."""
MAX_NAMED = 20
"""The most types of identifiers that a refusal names."""
MAX_SOURCE = 256
"""The longest name of a source, in characters."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_UNREADABLE = {"email": UNREADABLE_EMAIL, "phone": UNREADABLE_PHONE}
_envelope = frozenset({"record", "effectiveAt", "source"})
_line = _envelope | {"customerId", "identifier", "section", "op", "key"}


class _Identifier(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    value: str


class _Line(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """A line of a bulk, when nothing is wrong with it."""

    section: str
    record: msgspec.Raw | None = None
    customer_id: str | msgspec.UnsetType = msgspec.UNSET
    identifier: _Identifier | msgspec.UnsetType = msgspec.UNSET
    effective_at: str | None = None
    source: str | None = None
    op: str | None = None
    key: str | None = None


_identifier = msgspec.json.Decoder(_Identifier)
_whole_line = msgspec.json.Decoder(_Line)


class Parser:
    """Turns JSON texts into records on their way in, for one tenant."""

    def __init__(self, tenant: Tenant, source: str | None) -> None:
        self._key_secret = tenant.key_secret
        self._rules = rules.read(tenant.rules)
        self._source = source
        self._failures = Failures(tenant.id, request.current())

    def records(self, body: bytes, customer_id: str, section: StoredSection) -> list[Incoming]:
        """Return the record or records that a request's body holds, each as it is or as `{"record", …}`.

        Raises:
            MalformedJson: the body is not JSON that a store can keep.
            InvalidRecord: a record breaks the schema; the detail says which, and which field.
            BodyTooLarge: there are more records than one transaction is to hold.
            BlockedIdentifier: the tenant's rules block the customer id.
            SectionFailed: the section's own code raised an error.
        """
        single = body.lstrip()[:1] != b"["
        texts = [body] if single else strict_json.elements(body, MAX_RECORDS)
        if texts is None:
            raise BodyTooLarge(f"An array has at most {MAX_RECORDS} records. POST /api/v1/records takes more.")
        if not texts:
            raise InvalidRecord("The array holds no record. Send at least one.")
        named = self.named(CUSTOMER_ID, customer_id)
        found = []
        for index, text in enumerate(texts):
            try:
                found.append(self._record(index, text, named, section))
            except (InvalidRequest, SectionFailed) as error:
                self._failures.log(error)
                raise (error if single else error.of_record(index)) from None
        if sum(one.weight for one in found) > MAX_RECORDS:
            raise BodyTooLarge(
                f"An array has at most {MAX_LINKS} records that link identifiers. POST /api/v1/records takes more."
            )
        return found

    def line(self, index: int, text: bytes, registry: Registry) -> Incoming | Refusal:
        """Return the record that a line of a bulk holds, or why it cannot be taken."""
        try:
            return self._line(index, text, registry)
        except (InvalidRequest, SectionFailed) as error:
            self._failures.log(error)
            return Refusal(index, error.code, error.detail)

    def _record(self, index: int, text: bytes, named: Named, section: StoredSection) -> Incoming:
        strict_json.check(text)
        # Only a text that says "record" somewhere can be an envelope: the others are not looked at twice.
        members = self._object(text) if b'"record"' in text else {}
        # Where a section gathers fields of any name, one may be called so: then others stand beside it.
        plain = section.shape.extras is not None and members.keys() - _envelope
        if "record" not in members or plain:
            return self._incoming(index, named, section, text, None, self._source)
        self._only(members, _envelope)
        return self._enveloped(
            index, named, section, members["record"], self._optional(members, "source"),
            self._optional(members, "effectiveAt"),
        )  # fmt: skip

    def _line(self, index: int, text: bytes, registry: Registry) -> Incoming:
        if len(text) > MAX_LINE:
            raise BodyTooLarge(f"A record has at most {MAX_LINE} bytes.")
        strict_json.check(text)
        try:
            line = _whole_line.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            line = self._by_member(text, registry)
        named = self._named(line.customer_id, line.identifier)
        section = registry.stored(line.section)
        if line.op == Op.DELETE:
            return self._ended(index, named, section, line)
        if line.op not in {None, Op.PUT}:
            raise InvalidRecord("Field `op` must be `delete`, or left out.")
        if line.key is not None:
            raise InvalidRecord('Field `key` goes with `"op": "delete"` alone.')
        if line.record is None:
            raise InvalidRecord("Field `record` is required.")
        incoming = self._enveloped(index, named, section, line.record, line.source, line.effective_at)
        return incoming._replace(is_line=True)

    def _ended(self, index: int, named: Named, section: StoredSection, line: _Line) -> Incoming:
        """Return the end of a record, which is named by its key or by the fields of its key."""
        at = self._said(line.source, line.effective_at)
        if (line.key is None) == (line.record is None):
            raise InvalidRecord("A delete names its record by either `key` or, in `record`, the fields of its key.")
        if line.record is None:
            parsed = Parsed(None, line.key or "", b"", None)
        else:
            parsed = section.parse_key(bytes(line.record), self._key_secret)
        if isinstance(parsed.record, Identity):
            other = identifier_of(parsed.record, self._rules.region)
            parsed = parsed._replace(key=section.key(tuple(other), self._key_secret))
        return Incoming(
            index, named.identifier, section, parsed, at, line.source or self._source, named.value,
            op=Op.DELETE, is_line=True,
        )  # fmt: skip

    def _enveloped(
        self,
        index: int,
        named: Named,
        section: StoredSection,
        record: msgspec.Raw,
        source: str | None,
        at: str | None,
    ) -> Incoming:
        effective_at = self._said(source, at)
        return self._incoming(index, named, section, bytes(record), effective_at, source or self._source)

    @staticmethod
    def _said(source: str | None, at: str | None) -> int | None:
        """Return when something was true, as its sender gives it beside the source."""
        check_source(source)
        try:
            return None if at is None else time.parse(at)
        except InvalidParameter as error:
            raise InvalidRecord(f"Field `effectiveAt` {error.detail}.") from None

    def _incoming(
        self, index: int, named: Named, section: StoredSection, text: bytes, at: int | None, source: str | None
    ) -> Incoming:
        parsed = section.parse(text, self._key_secret)
        linked = None
        if isinstance(parsed.record, Identity):
            parsed, linked = self._linked(parsed, parsed.record, section)
        identifiers = (named.identifier, linked.named.identifier) if linked else (named.identifier,)
        doubts = self._doubts(identifiers)
        return Incoming(index, named.identifier, section, parsed, at, source, named.value, linked, doubts)

    def _linked(self, parsed: Parsed, record: Identity, section: StoredSection) -> tuple[Parsed, Linked]:
        """Return the identifier that an identity record names, and the record under the key that this gives it."""
        other = identifier_of(record, self._rules.region)
        if fault := value_fault(other, record.value):
            raise InvalidRecord(f"Field `value`{': a customer id' if other.type == CUSTOMER_ID else ''} {fault}.")
        key = section.key(tuple(other), self._key_secret)
        return parsed._replace(key=key), Linked(Named(other, record.value), record.confidence)

    def _doubts(self, identifiers: Iterable[Identifier]) -> tuple[RecordWarning, ...]:
        """Return what is doubtful about the identifiers that a record names; a blocked one's link is refused anyway."""
        unread = [one for one in identifiers if not is_readable(*one) and not self._rules.blocks(one)]
        return tuple(dict.fromkeys(_UNREADABLE[one.type] for one in unread))

    def _named(self, customer_id: str | msgspec.UnsetType, identifier: _Identifier | msgspec.UnsetType) -> Named:
        """Return the one identifier that a line names."""
        if (customer_id is msgspec.UNSET) == (identifier is msgspec.UNSET):
            raise _one_name()
        if customer_id is not msgspec.UNSET:
            return self.named(CUSTOMER_ID, customer_id)
        assert identifier is not msgspec.UNSET
        return self.named(identifier.type, identifier.value)

    def named(self, type_: str, value: str) -> Named:
        """Return an identifier in the form in which it is matched, beside its value as it was given.

        Raises:
            InvalidRecord: the value breaks its rule: that of names, for a customer id, or of length.
            UnknownIdentifierType: the tenant knows no such type.
            BlockedIdentifier: the value says nothing of a person.
        """
        if not self._rules.knows(type_):
            known = ", ".join(list(self._rules.all_types)[:MAX_NAMED])
            raise UnknownIdentifierType(
                f"This type of identifier is not known to the tenant. Known are: {known}. "
                "An administrator adds others to the tenant's identity rules."
            )
        found = Identifier(type_, normalise(type_, value, self._rules.region))
        if fault := value_fault(found, value):
            raise InvalidRecord(f"The {'customer id' if type_ == CUSTOMER_ID else 'value of the identifier'} {fault}.")
        if self._rules.blocks(found):
            raise BlockedIdentifier(
                "The identifier's value is empty or one that says nothing of a person: nothing can be told of it."
            )
        return Named(found, value)

    def _by_member(self, text: bytes, registry: Registry) -> _Line:
        """Return a line that cannot be decoded at once, one member after the other: to say what is wrong first."""
        members = self._object(text)
        self._only(members, _line)
        if ("customerId" in members) == ("identifier" in members):
            raise _one_name()
        customer_id = self._string(members, "customerId") if "customerId" in members else msgspec.UNSET
        identifier: _Identifier | msgspec.UnsetType = msgspec.UNSET
        if "identifier" in members:
            try:
                identifier = _identifier.decode(bytes(members["identifier"]))
            except (msgspec.MsgspecError, ValueError):
                raise InvalidRecord("Field `identifier` must be an object of `type` and `value`, both texts.") from None
        self._named(customer_id, identifier)
        section = self._string(members, "section")
        registry.stored(section)
        source = self._optional(members, "source")
        check_source(source)
        at = self._optional(members, "effectiveAt")
        op, key = self._optional(members, "op"), self._optional(members, "key")
        return _Line(section, members.get("record"), customer_id, identifier, at, source, op, key)

    def _optional(self, members: dict[str, msgspec.Raw], name: str) -> str | None:
        return None if bytes(members.get(name, b"null")) == b"null" else self._string(members, name)

    @staticmethod
    def _string(members: dict[str, msgspec.Raw], name: str) -> str:
        if name not in members:
            raise InvalidRecord(f"Field `{name}` is required.")
        try:
            return _text.decode(bytes(members[name]))
        except (msgspec.MsgspecError, ValueError):
            raise InvalidRecord(f"Field `{name}` must be a text.") from None

    @staticmethod
    def _only(members: dict[str, msgspec.Raw], known: frozenset[str]) -> None:
        for name in members.keys() - known:
            shown = f"`{name}` " if re.fullmatch(r"[A-Za-z_][\w-]{0,63}", name, re.ASCII) else ""
            raise InvalidRecord(f"Field {shown}is not known here; known are: {', '.join(sorted(known))}.")

    @staticmethod
    def _object(text: bytes) -> dict[str, msgspec.Raw]:
        try:
            return _members.decode(text)
        except msgspec.ValidationError:
            raise InvalidRecord("A record must be a JSON object.") from None
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise strict_json.malformed(text, error) from None


def check_source(source: str | None) -> None:
    """Check the name of a source.

    Raises:
        InvalidRecord: it is too short or too long.
    """
    if source is not None and not 0 < len(source) <= MAX_SOURCE:
        raise InvalidRecord(f"Field `source` must have 1 to {MAX_SOURCE} characters.")


def _one_name() -> InvalidRecord:
    return InvalidRecord("A line names its customer by either `customerId` or `identifier`.")


def chunks(parsed: Iterable[Incoming | Refusal], size: int) -> Iterator[tuple[list[Incoming], list[Refusal]]]:
    """Yield what was parsed in groups, those to record apart from those refused.

    A group costs about as much as `size` ordinary records: between two groups others have their turn.
    """
    incoming: list[Incoming] = []
    refused: list[Refusal] = []
    weight = 0
    for one in parsed:
        if isinstance(one, Refusal):
            refused.append(one)
            weight += 1
        else:
            incoming.append(one)
            weight += one.weight
        if weight >= size:
            yield incoming, refused
            incoming, refused, weight = [], [], 0
    if incoming or refused:
        yield incoming, refused
