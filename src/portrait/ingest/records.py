"""Portrait's own formats: the records of one section, and the lines of a bulk."""

import re
from collections.abc import Iterable, Iterator

import msgspec

from portrait.model import strict_json, time
from portrait.model.errors import BodyTooLarge, InvalidParameter, InvalidRecord, InvalidRequest, SectionFailed
from portrait.model.fact import Op
from portrait.model.identifier import CUSTOMER_ID
from portrait.model.source import PUBLIC, is_public
from portrait.model.streams import MAX_LINE
from portrait.model.warning import APOSTROPHE, RecordWarning
from portrait.sections.base import Parsed, StoredSection
from portrait.sections.record import Record
from portrait.sections.registry import Registry
from portrait.serving import request
from portrait.serving.failures import Failures
from portrait.storage.contract import TenantRow
from portrait.writes.incoming import LINK_WEIGHT, Incoming
from portrait.writes.naming import Naming, Subject, without_apostrophe
from portrait.writes.recording import Refusal

MAX_RECORDS = 2000
"""The most records in one request for a customer's section."""
MAX_LINKS = MAX_RECORDS // LINK_WEIGHT
"""The most of these records that link identifiers: an array is one transaction, and other writes wait for it."""
MAX_SOURCE = 256
"""The longest name of a source, in characters."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_envelope = frozenset({"record", "effectiveAt", "source"})
_line = _envelope | {"customerId", "identifier", "section", "op", "key"}


class _Identifier(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    value: str


class _Line(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """A line of a bulk, when nothing is wrong with it."""

    section: str
    record: msgspec.Raw = msgspec.Raw()
    """Empty where there is no record: no JSON text is empty."""
    customer_id: str | msgspec.UnsetType = msgspec.UNSET
    identifier: _Identifier | msgspec.UnsetType = msgspec.UNSET
    effective_at: str | None = None
    source: str | None = None
    op: str | None = None
    key: str | None = None


_identifier = msgspec.json.Decoder(_Identifier)
_whole_line = msgspec.json.Decoder(_Line)


class Parser:
    """Turns JSON texts into records on their way in, for one tenant.

    Args:
        tenant: the tenant.
        source: the source of records that name no source.
        is_export: whether the texts come from a file that another system wrote out: then words for none, such as NULL,
            are no customer ids, and an apostrophe before a number is not part of a customer id.
    """

    def __init__(self, tenant: TenantRow, source: str | None, *, is_export: bool = False) -> None:
        self._naming = Naming(tenant, is_export=is_export)
        self._is_export = is_export
        self._key_secret = tenant.key_secret
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
            raise InvalidRecord("The array has no records. Send at least one.")
        subject = self._naming.subject(CUSTOMER_ID, customer_id)
        subject.hold()
        incoming = []
        for index, text in enumerate(texts):
            try:
                incoming.append(self._record(index, text, subject, section))
            except (InvalidRequest, SectionFailed) as error:
                self._failures.log(error)
                raise (error if single else error.of_record(index)) from None
        if sum(record.weight for record in incoming) > MAX_RECORDS:
            raise BodyTooLarge(
                f"An array has at most {MAX_LINKS} records that link identifiers. POST /api/v1/records takes more."
            )
        return incoming

    def line(self, index: int, text: bytes, registry: Registry, moment: int | None = None) -> Incoming | Refusal:
        """Return the record that a line of a bulk holds, or why it cannot be taken.

        Args:
            index: its place among the lines.
            text: the line.
            registry: the sections.
            moment: from when its record is true, in microseconds, where neither line nor record says; None: from when
                we are told.
        """
        try:
            incoming = self._line(index, text, registry)
            return incoming if moment is None or incoming.moment is not None else incoming._replace(effective_at=moment)
        except (InvalidRequest, SectionFailed) as error:
            self._failures.log(error)
            return Refusal(index, error.code, error.detail)

    def told(
        self, index: int, subject: tuple[str, str], section: StoredSection, record: bytes, at: int | None
    ) -> Incoming:
        """Return a record that a client may send again, as it is or nearly.

        Args:
            index: its place in the request.
            subject: the type and the value of the identifier that it is about.
            section: its section.
            record: the record as JSON.
            at: when it was true, in microseconds; None: the record says, or from when we are told.

        Raises:
            InvalidRequest: it breaks a rule; the detail says which, and which field.
            SectionFailed: the section's own code raised an error.
        """
        if len(record) > MAX_LINE:
            raise BodyTooLarge(f"A record has at most {MAX_LINE} bytes.")
        strict_json.check(record)
        named = self._naming.subject(*subject)
        named.hold()
        incoming = self._incoming(index, named, section, record, None, None)
        return incoming._replace(effective_at=at, is_resent=True)

    def _record(self, index: int, text: bytes, subject: Subject, section: StoredSection) -> Incoming:
        strict_json.check(text)
        # Only a text that says "record" somewhere can be an envelope: other texts are not read twice.
        members = self._object(text) if b'"record"' in text else {}
        # Where a section takes fields of any name, one may be called `record`: then other fields stand beside it.
        plain = section.shape.extras is not None and members.keys() - _envelope
        if "record" not in members or plain:
            return self._incoming(index, subject, section, text, None, None)
        self._only(members, _envelope)
        source, at = self._optional(members, "source"), self._optional(members, "effectiveAt")
        return self._incoming(index, subject, section, bytes(members["record"]), source, at)

    def _line(self, index: int, text: bytes, registry: Registry) -> Incoming:
        if len(text) > MAX_LINE:
            raise BodyTooLarge(f"A record has at most {MAX_LINE} bytes.")
        strict_json.check(text)
        try:
            line = _whole_line.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            line = self._by_member(text, registry)
        marked = line.customer_id
        if self._is_export and line.customer_id is not msgspec.UNSET:
            line.customer_id = without_apostrophe(line.customer_id)
        subject = self._subject(line.customer_id, line.identifier)
        section = registry.stored(line.section)
        if line.op == Op.DELETE:
            return self._ended(index, subject, section, line)
        if line.op is not None and line.op != Op.PUT:
            raise InvalidRecord("Field `op` must be `delete`, or left out.")
        if line.key is not None:
            raise InvalidRecord('Field `key` goes with `"op": "delete"` alone.')
        record = bytes(line.record)
        if not record:
            raise InvalidRecord("Field `record` is required.")
        subject.hold()
        marks = () if line.customer_id == marked else (APOSTROPHE,)
        return self._incoming(
            index, subject, section, record, line.source, line.effective_at, marks=marks, is_line=True
        )

    def _ended(self, index: int, subject: Subject, section: StoredSection, line: _Line) -> Incoming:
        """Return the end of a record, which is named by its key or by the fields of its key."""
        at = self._effective_at(line.source, line.effective_at)
        named_by = bytes(line.record)
        if (line.key is None) == (not named_by):
            raise InvalidRecord("A delete names its record by either `key` or, in `record`, the fields of its key.")
        if not named_by:
            parsed = Parsed(None, line.key or "", b"", None)
        else:
            parsed = section.parse_key(named_by, self._key_secret)
        parsed, _ = self._naming.keyed(parsed.named_by, parsed, section)
        return Incoming(
            index, subject.named.identifier, section, parsed, at, line.source or self._source, subject.named.value,
            op=Op.DELETE, is_line=True,
        )  # fmt: skip

    def _effective_at(self, source: str | None, at: str | None) -> int | None:
        """Return the moment that a sender gives as `effectiveAt`, after a check of the source beside it."""
        check_source(source)
        if source is not None and is_public(self._source):
            raise InvalidRecord("Field `source` must be left out: what anybody can say is said by one source alone.")
        try:
            return None if at is None else time.parse(at)
        except InvalidParameter as error:
            raise InvalidRecord(f"Field `effectiveAt` {error.detail}.") from None

    def _incoming(
        self,
        index: int,
        subject: Subject,
        section: StoredSection,
        text: bytes,
        source: str | None,
        at: str | None,
        *,
        marks: tuple[RecordWarning, ...] = (),
        is_line: bool = False,
    ) -> Incoming:
        """Return a record with what it says of a subject, as its sender dates it."""
        effective_at = self._effective_at(source, at)
        record, parsed = section.parse(text, self._key_secret)
        check_own_source(record)
        parsed, linked = self._naming.linked(record, parsed, section)
        parsed = self._naming.ranked(parsed, section, source or self._source)
        warnings = marks + self._naming.doubts(subject, linked)
        identifier, value = subject.named
        hashed = self._naming.hashed
        has_hashes = identifier.type in hashed or (linked is not None and linked.named.identifier.type in hashed)
        return Incoming(
            index, identifier, section, parsed, effective_at, source or self._source, value, linked, warnings,
            is_line=is_line, has_hashes=has_hashes,
        )  # fmt: skip

    def _subject(self, customer_id: str | msgspec.UnsetType, identifier: _Identifier | msgspec.UnsetType) -> Subject:
        """Return what a line names as that of which it says something."""
        if (customer_id is msgspec.UNSET) == (identifier is msgspec.UNSET):
            raise _one_name()
        if customer_id is not msgspec.UNSET:
            return self._naming.subject(CUSTOMER_ID, customer_id)
        assert identifier is not msgspec.UNSET
        return self._naming.subject(identifier.type, identifier.value)

    def _by_member(self, text: bytes, registry: Registry) -> _Line:
        """Decode a line that cannot be decoded at once, one member after the other: the error names the first fault."""
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
        self._subject(customer_id, identifier)
        section = self._string(members, "section")
        registry.stored(section)
        source = self._optional(members, "source")
        check_source(source)
        at = self._optional(members, "effectiveAt")
        op, key = self._optional(members, "op"), self._optional(members, "key")
        return _Line(section, members.get("record", msgspec.Raw()), customer_id, identifier, at, source, op, key)

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
            quoted = f"`{name}` " if re.fullmatch(r"[A-Za-z_][\w-]{0,63}", name, re.ASCII) else ""
            raise InvalidRecord(f"Field {quoted}is unknown; known fields are: {', '.join(sorted(known))}.")

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
        InvalidRecord: it is too short or too long, or begins as those do that only the service itself gives.
    """
    if source is not None and not 0 < len(source) <= MAX_SOURCE:
        raise InvalidRecord(f"Field `source` must have 1 to {MAX_SOURCE} characters.")
    _check_not_public(source)


def check_own_source(record: Record) -> None:
    """Check the source that a record names in a field of its own.

    Raises:
        InvalidRecord: it begins as those do that only the service itself gives.
    """
    source = getattr(record, "source", None)
    _check_not_public(source if isinstance(source, str) else None)


def _check_not_public(source: str | None) -> None:
    if is_public(source):
        raise InvalidRecord(f"Field `source` must not begin with `{PUBLIC}`: the service alone gives such sources.")


def _one_name() -> InvalidRecord:
    return InvalidRecord("A line names its customer by either `customerId` or `identifier`.")


class Chunk:
    """Parsed records that are recorded together, and refusals among them."""

    def __init__(self) -> None:
        self.incoming: list[Incoming] = []
        self.refused: list[Refusal] = []
        self.weight = 0
        """What it costs to record them, as so many ordinary records; a refusal counts as one."""

    def add(self, read: Incoming | Refusal) -> None:
        """Add what became of a text."""
        if isinstance(read, Refusal):
            self.refused.append(read)
            self.weight += 1
        else:
            self.incoming.append(read)
            self.weight += read.weight


def chunks(parsed: Iterable[Incoming | Refusal], size: int) -> Iterator[Chunk]:
    """Yield what became of texts in chunks.

    A chunk costs about as much as `size` ordinary records: between two chunks other requests have their turn.
    """
    chunk = Chunk()
    for read in parsed:
        chunk.add(read)
        if chunk.weight >= size:
            yield chunk
            chunk = Chunk()
    if chunk.weight:
        yield chunk
