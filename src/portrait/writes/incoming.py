"""Records on their way in: validated, and not yet decided on."""

from typing import NamedTuple

from portrait.model.fact import Op
from portrait.model.identifier import Identifier
from portrait.model.warning import RecordWarning
from portrait.sections.base import Parsed, StoredSection
from portrait.sections.links import shown_by
from portrait.sections.record import Record
from portrait.storage.contract import FactsAsked

LINK_WEIGHT = 20
"""What a record that links two identifiers costs, in records that do not: 0.5 to 6 ms, by how many its customer has."""


class GivenIdentifier(NamedTuple):
    """An identifier, and its value as it was given."""

    identifier: Identifier
    value: str


class Linked(NamedTuple):
    """The identifier that an identity record names, and how sure the record is."""

    named: GivenIdentifier
    confidence: float


class Incoming(NamedTuple):
    """One validated record on its way in, or the end of one."""

    at: int
    """Its place in the request, from 0."""
    identifier: Identifier
    section: StoredSection
    parsed: Parsed
    effective_at: int | None
    """As the sender gave it; None: the record says, or the moment we are told counts."""
    source: str | None
    value: str | None = None
    """The identifier's value as it was given; None: as it is matched."""
    linked: Linked | None = None
    """The other identifier, where the record is evidence of one."""
    warnings: tuple[RecordWarning, ...] = ()
    """What is doubtful about it, as far as it shows in the record itself."""
    op: Op = Op.PUT
    is_line: bool = False
    """Whether it came in a line of many, a file's perhaps, which are sent again as they are."""
    is_resent: bool = False
    """Whether its client sends it again where it hears no answer, perhaps changed in what says nothing: then what came
    first counts, and a source's word that it says already is no news."""

    has_hashes: bool = False
    """Whether it names a clear value, as against its hashes, and the tenant has a type of these."""

    @property
    def named(self) -> GivenIdentifier:
        """The identifier, as it was given."""
        return GivenIdentifier(self.identifier, self.identifier.value if self.value is None else self.value)

    @property
    def weight(self) -> int:
        """What it costs to take it, as so many ordinary records."""
        unlinks = self.op is Op.DELETE and shown_by(self.section) is not self.section
        return LINK_WEIGHT if self.linked is not None or unlinks or self.has_hashes else 1

    @property
    def record(self) -> Record:
        """The record itself, out of its body; an end has none."""
        return self.section.shape.decode(self.parsed.body)

    @property
    def moment(self) -> int | None:
        """When it was true, by the sender's word or the record's own; None: from when we are told."""
        return self.parsed.effective_at if self.effective_at is None else self.effective_at

    @property
    def asked(self) -> FactsAsked:
        """Asks for what it may repeat or end: its key, and the moment too where a key can be given anew (state)."""
        moment = None if self.section.kind == "events" or self.op is Op.DELETE else self.moment
        return FactsAsked(self.identifier, self.section.name, self.parsed.key, moment)
