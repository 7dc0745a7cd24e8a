"""What a section is: stored, with its schema, key and fold; or computed, with its function."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, cast

import msgspec

from portrait.model import strict_json, time
from portrait.model.errors import InvalidRecord, PortraitError, SectionFailed, SectionForbidden, SectionTooLarge
from portrait.model.fact import Fact, Op
from portrait.model.identifier import name_fault
from portrait.sections.events import Events
from portrait.sections.fold import Fold, Latest, StateFold
from portrait.sections.ranks import rank_of, with_rank, without_rank
from portrait.sections.record import Record, Shape

MAX_KEYS = 1000
"""The most live keys of one section and customer; of events, the most that lie ahead."""
MAX_SECTION_BYTES = 2**20
"""The most bytes of a customer's section as JSON, where no setting says otherwise."""
STATE_TIMES = 4
"""A stored state may take so many times as much: it also keeps hidden records, and those that lie ahead."""
MAX_AHEAD = 24 * time.HOUR
"""How far ahead a record may lie that is not planned, in microseconds: clocks differ, but it has not happened yet."""
_KEPT = 4096
"""So many hashed keys are kept: many customers have records of the same campaign, experiment or purpose."""

Role = Literal["viewer", "editor", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "admin")
Normalise = Callable[[Record], tuple[str, ...]]


def one_of_roles(roles: Collection[str]) -> str:
    """Return roles in words: who may, where a caller may not."""
    return " or ".join(sorted(roles)) or "nobody"


class OwnCode:
    """Runs code that a section brings along: whatever it raises becomes the error that names the section.

    Raises:
        SectionFailed: the code raised an error that is none of Portrait's; that error is the cause.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, PortraitError):
            raise SectionFailed.of(self._name) from error


_own_code = cache(OwnCode)


class Parsed(NamedTuple):
    """A record that keeps its section's schema, in the forms that facts need."""

    named_by: Record | None
    """Of a delete that names its record by the fields of the key: these."""
    key: str
    body: bytes
    """Empty: of a delete."""
    effective_at: int | None
    """When the record itself says it was true, in microseconds."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What stored and computed sections have in common."""

    name: str
    description: str
    origin: str
    """The module or file that declared it."""
    roles: frozenset[str]
    default: bool
    """Whether the full profile holds it; asked for by name it always comes."""

    def forbidden(self, role: str) -> SectionForbidden:
        """Return the error that says that a role may not use this section."""
        return SectionForbidden(
            f"This credential's role is {role}; section `{self.name}` is for {one_of_roles(self.roles)}."
        )


@dataclass(frozen=True, kw_only=True)
class StoredSection(Section):
    """A section whose records Portrait keeps: its schema, its key and its fold."""

    shape: Shape
    key_fields: Mapping[type[Record], tuple[str, ...]]
    """Per record type, the attributes that form its key."""
    kind: Literal["state", "events"]
    fold: Fold[Any]
    version: int
    """Raised by its author whenever schema, fold or rendering change; older documents are rendered anew."""
    upgrade: Callable[[int, dict[str, Any]], dict[str, Any]] | None
    effective: Callable[[Record], Any] | None
    normalise: Normalise | None
    opaque_keys: bool
    ranked: bool = False
    """Whether records are kept with their sources' ranks."""
    grants: Callable[[Record], bool] | None = None
    """Tells which records allow something; None: what a source says again without a moment is as new as anything."""
    planned: Callable[[Record], bool] | None = None
    """Tells whether a record may be true from a moment that lies more than `MAX_AHEAD` ahead; None: any may."""
    shown_as: str | None = None
    """The section whose document its states make; None: its own."""
    max_bytes: int = MAX_SECTION_BYTES
    """The most bytes of a customer's document."""

    @property
    def document(self) -> str:
        """The name of the document that its states make."""
        return self.shown_as or self.name

    @property
    def state_fold(self) -> StateFold[Any]:
        """The fold of a section of kind state."""
        return cast("StateFold[Any]", self.fold)  # the declaration was checked for that

    def own_code(self) -> OwnCode:
        """Return the context in which the section's own code runs, a plugin's perhaps."""
        return _own_code(self.name)

    def too_large(self) -> SectionTooLarge:
        """Return the error that says that a customer's section would pass its limit of bytes."""
        return SectionTooLarge(
            f"A customer's section `{self.name}` takes at most {self.max_bytes} bytes. Send less, or delete records."
        )

    def parse(self, raw: bytes, key_secret: bytes) -> tuple[Record, Parsed]:
        """Return the record that a JSON text holds, which `strict_json.check` let through, and its forms.

        Raises:
            MalformedJson: the text is not JSON.
            InvalidRecord: the record breaks the schema; the detail names the field.
            SectionFailed: what the section says of its key or its moment raised an error.
        """
        record = self.shape.parse(raw)
        with self.own_code():
            values = self.key_values(record)
            if not self.opaque_keys:
                self._check_key(record, values)
            at = self.effective(record) if self.effective else None
            key, body = self.key(values, key_secret), self.shape.encode(record)
            return record, Parsed(None, key, body, None if at is None else time.moment(at))

    def parse_key(self, raw: bytes, key_secret: bytes) -> Parsed:
        """Return the record that a JSON text names by the fields of its key, for its end; others may be missing.

        Raises:
            MalformedJson: the text is not JSON.
            InvalidRecord: a field breaks the schema, or one of the key is missing; the detail names it.
            SectionFailed: what the section says of its key raised an error.
        """
        record = self.shape.parse_key(raw, self.key_fields)
        with self.own_code():
            return Parsed(record, self.key(self.key_values(record), key_secret), b"", None)

    @property
    def shows(self) -> Any:
        """The schema of what the profile shows: the section's own, unless a fold of the plugin's makes others."""
        if not isinstance(self.fold, Latest | Events):
            return dict[str, Any]
        return (isinstance(self.fold, Latest) and self.fold.shows) or self.shape.schema

    @property
    def by_source(self) -> bool:
        """Whether what one source says is news from another, too: each source's own words are kept."""
        return isinstance(self.fold, Latest) and self.fold.by_source and self.grants is None

    def as_told(self, fact: Fact) -> Fact:
        """Return a fact as its source told it: without the source's rank."""
        return msgspec.structs.replace(fact, body=without_rank(fact.body)) if self.ranked else fact

    def example(self) -> dict[str, Any]:
        """Return an example of a record as JSON shows it."""
        return self.shape.example()

    def shown_example(self) -> dict[str, Any]:
        """Return the same example as an answer shows it: what was left out has its default."""
        fields = msgspec.structs.fields(self.shape.members[0])
        absent = (msgspec.UNSET, msgspec.NODEFAULT)
        return {field.encode_name: field.default for field in fields if field.default not in absent} | self.example()

    def key_values(self, record: Record) -> tuple[str, ...]:
        """Return what forms a record's key, as texts."""
        if self.normalise is not None:
            return self.normalise(record)
        return key_texts(record, self.key_fields[type(record)])

    def key(self, values: tuple[str, ...], key_secret: bytes) -> str:
        """Return the key under which a record stands: the value itself, or a keyed hash of the values."""
        return _hashed(key_secret, (self.name, *values)) if self.opaque_keys else values[0]

    def bring_forward(self, fact: Fact) -> Fact:
        """Return a fact of an older version with its body as the code reads it now.

        Raises:
            SectionFailed: the section's `upgrade` raised an error.
            MalformedJson, InvalidRecord: what it returned is no record of this version.
        """
        if fact.version >= self.version or self.upgrade is None or fact.op is not Op.PUT:
            return fact
        older = msgspec.json.decode(self.as_told(fact).body)
        with self.own_code():
            body = msgspec.json.encode(self.upgrade(fact.version, older))
        strict_json.check(body)
        newer = self.shape.encode(self.shape.parse(body))
        if self.ranked:
            newer = with_rank(newer, rank_of(fact.body))
        return msgspec.structs.replace(fact, body=newer, version=self.version)

    def _check_key(self, record: Record, values: tuple[str, ...]) -> None:
        fault = name_fault(values[0])
        if fault:
            attribute = self.key_fields[type(record)][0]
            name = next(field.name for field in self.shape.fields[type(record)] if field.attribute == attribute)
            raise InvalidRecord(f"Field `{name}` {fault}.")


@dataclass(frozen=True, kw_only=True)
class ComputedSection(Section):
    """A section that a function gives at read time, for what lives elsewhere."""

    function: Callable[..., Any]
    timeout: float
    """The deadline, in seconds."""
    cache_seconds: float
    breaker: tuple[int, float] | None = None
    """After how many failures in a row the function is not called, and for how many seconds; None: it always is."""
    ended: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Of a coroutine function: run on each loop that it was called on, before that loop closes."""


@lru_cache(maxsize=_KEPT)
def _hashed(key_secret: bytes, values: tuple[str, ...]) -> str:
    """Return a keyed hash of texts.

    HMAC (RFC 2104) over BLAKE2b, with a secret of the tenant's, so that a key tells nothing of a person to anyone who
    has only the key.
    """
    return urlsafe_b64encode(hmac.digest(key_secret, msgspec.json.encode(values), "blake2b")[:16]).rstrip(b"=").decode()


def key_texts(record: Record, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of a record's key fields as texts; an unset one is empty."""
    return tuple([_text(getattr(record, attribute)) for attribute in attributes])


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, datetime):
        return time.rfc3339(time.moment(value))
    return str(value)
