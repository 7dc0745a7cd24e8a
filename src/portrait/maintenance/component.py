"""Identifiers that are linked: what their facts lead to, beside what is stored."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from portrait import projection
from portrait.identity.graph import Graph, Profile, aliases
from portrait.identity.normalise import Forms
from portrait.identity.rules import Rule
from portrait.maintenance.report import Difference, Report
from portrait.model.document import HEAD, STALE, Document, Head, content_hash, head_document, stale
from portrait.model.errors import PortraitError
from portrait.model.fact import Fact
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer
from portrait.sections.base import StoredSection
from portrait.sections.fold import LatestState
from portrait.sections.identities import EvidenceFold
from portrait.sections.links import LINKS, shown_by
from portrait.sections.registry import Registry
from portrait.storage.contract import Changes, StoredState
from portrait.writes.claims import words_of
from portrait.writes.evidence import Pair, Said


class Component:
    """Identifiers that are linked: what their facts lead to, beside what is stored.

    A section whose own code raises an error, at whatever step, is counted and passed over, for the customer concerned.

    Args:
        registry: the sections.
        tenant: whose identifiers they are.
        now: a moment by which all stored documents had been rendered, in microseconds.
        report: where to count.
        forms: the forms in which the tenant's identifiers match.
        facts: all facts of each identifier.
        graph: what links the identifiers.
        owners: the customer id under which each identifier is registered.
        documents: the stored documents and heads, by customer id and section.
        states: the stored states.
        evidence: the stored evidence at further identifiers, with which links wait for review.
    """

    def __init__(
        self,
        registry: Registry,
        tenant: str,
        now: int,
        report: Report,
        *,
        forms: Forms,
        facts: Mapping[Identifier, list[Fact]],
        graph: Graph,
        owners: dict[Identifier, str],
        documents: dict[tuple[str, str], Document],
        states: dict[tuple[Identifier, str], StoredState],
        evidence: Mapping[Identifier, LatestState],
    ) -> None:
        self._registry = registry
        self._tenant = tenant
        self._report = report
        self._now = now
        self._facts = facts
        self._stored_owners = owners
        self._stored_documents = documents
        self._stored_states = {pair: state for pair, state in states.items() if registry.find_folded(pair[1])}
        own_ids = {identifier.value for identifier in facts if identifier.type == CUSTOMER_ID}
        self.customer_ids = own_ids | set(owners.values())
        self.owners: dict[Identifier, str] = {}
        self.states: dict[tuple[Identifier, str], StoredState] = {}
        self._documents: dict[tuple[str, str], Document] = {}
        self._failed_states: set[tuple[Identifier, str]] = set()
        self._failed_documents: set[tuple[str, str]] = set()
        self._failed: set[tuple[str, str]] = set()
        """The same by customer, or by identifier where no customer has it."""
        report.facts += sum(map(len, facts.values()))
        folded = {identifier: self._fold(identifier, own_facts) for identifier, own_facts in facts.items()}
        self._live_claims, self._decided_claims = _links(registry, forms, folded, evidence)
        for profile in graph.profiles():
            if profile.customer_id is not None and facts[customer(profile.customer_id)]:
                report.customers += 1
                self._derive(profile, profile.customer_id, folded)
        self._failed.update(
            (identifier.tag, name) for identifier, name in self._failed_states if identifier not in self.owners
        )
        report.failed.update(name for _, name in self._failed)
        for _, name in documents:
            if name != HEAD and registry.find_stored(name) is None:
                report.of_unregistered(name).documents += 1

    def _fold(self, identifier: Identifier, facts: list[Fact]) -> dict[str, Any]:
        """Return the states that an identifier's facts lead to, by section."""
        by_section: dict[str, list[Fact]] = {}
        for fact in facts:
            by_section.setdefault(fact.section, []).append(fact)
        states = {}
        for name, section_facts in by_section.items():
            section = self._registry.find_folded(name)
            if section is None:
                self._report.of_unregistered(name).facts += len(section_facts)
                continue
            try:
                with section.own_code():
                    states[name] = projection.fold_facts(section, section_facts)
                    self.states[identifier, name] = projection.store_state(section, states[name])
            except PortraitError:
                self._failed_states.add((identifier, name))
        return states

    def _derive(self, profile: Profile, owner: str, folded: Mapping[Identifier, dict[str, Any]]) -> None:
        """Make one customer's documents and heads from the facts."""
        moments = [fact.recorded_at for identifier in profile.members for fact in self._facts[identifier]]
        now = max(self._now, *moments)
        self.owners |= dict.fromkeys(profile.members, owner)
        failed = {name for identifier, name in self._failed_states if identifier in profile.members}
        for name in failed | {name for identifier in profile.members for name in folded[identifier]}:
            section = self._registry.find_folded(name)
            assert section is not None
            if shown_by(section) is not section:
                continue
            try:
                if name not in failed:
                    self._documents[owner, section.document] = self._render(section, profile, folded, now)
                    continue
            except PortraitError:
                failed.add(name)
            self._failed_documents.add((owner, section.document))
        self._failed.update((owner, name) for name in failed)
        own = profile.members == (customer(owner),)
        heads = {alias: self._head(alias, merged_into=owner) for alias in aliases(profile)}
        heads[owner] = self._head(owner, updated_at=max(moments), members=() if own else profile.members)
        self._documents |= {(customer_id, HEAD): head_document(head) for customer_id, head in heads.items()}

    def _render(
        self, section: StoredSection, profile: Profile, folded: Mapping[Identifier, dict[str, Any]], now: int
    ) -> Document:
        with section.own_code():
            states = _of_each(section, profile, folded)
            if projection.may_clash(section, states):
                facts = {
                    identifier: [fact for fact in self._facts[identifier] if fact.section == section.name]
                    for identifier in profile.members
                }
                visible = projection.without_contradicted(section, facts)
                states = [projection.fold_facts(section, own_facts) for own_facts in visible.values()]
            state = projection.joined(section, states)
            if projection.needs_links(section, state):
                state = projection.linked(state, _of_each(LINKS, profile, folded))
            return projection.render(section, state, now)

    def _head(self, customer_id: str, **changes: Any) -> Head:
        first = projection.head_of(self._facts[customer(customer_id)])
        assert first is not None
        return msgspec.structs.replace(first, **{"updated_at": first.created_at, **changes})

    @property
    def changes(self) -> Changes:
        """What the facts lead to; what is stored and does not follow from them is removed.

        A document that failed is replaced by a stale one.
        """
        registered = {HEAD, *(section.name for section in self._registry.all_stored())}
        owners = dict.fromkeys(self._stored_owners.keys() - self.owners.keys())
        states = dict.fromkeys(self._stored_states.keys() - self.states.keys() - self._failed_states)
        documents = dict.fromkeys(
            key
            for key in self._stored_documents.keys() - self._documents.keys() - self._failed_documents
            if key[1] in registered
        )
        failed = {key: stale(key[1]) for key in self._failed_documents}
        return Changes((), owners | self.owners, states | self.states, documents | self._documents | failed)

    @property
    def overtaken(self) -> dict[tuple[str, str], Document]:
        """The documents as a read shows them, of which what is stored was overtaken by newer code or by time."""
        return {
            key: document
            for key, document in self._documents.items()
            if key[1] != HEAD
            and (stored := self._stored_documents.get(key)) is not None
            and (stored.version != document.version or stored.is_due(self._now))
        }

    @property
    def renewed(self) -> dict[tuple[str, str], Document]:
        """Those of them that newer code alone has overtaken: what time has, would be another by that alone."""
        stored = self._stored_documents
        return {
            key: document
            for key, document in self.overtaken.items()
            if stored[key].version != STALE and not stored[key].is_due(self._now)
        }

    @property
    def is_claimed(self) -> bool:
        """Whether anything was decided, or is to be decided, of who the identifiers are."""
        return any(name == LINKS.name for _, name in self.states)

    @property
    def pairs(self) -> set[Pair]:
        """The pairs whose live claims differ from the claims that were decided on."""
        return {pair for pair, _ in self._live_claims ^ self._decided_claims}

    def compare(self) -> None:
        """Report how what is stored differs from what the facts lead to.

        The live claims are read from the records and not from the decisions: a second, independent way.
        """
        for claim in sorted(self._live_claims ^ self._decided_claims, key=str):
            reason: Literal["missing", "unfounded"] = "missing" if claim in self._live_claims else "unfounded"
            self._report.differences.append(Difference(self._tenant, "link", LINKS.document, reason))
        self._compare("identifier", self.owners, self._stored_owners, lambda a, b, _: a == b)
        self._compare(
            "state",
            self.states,
            {pair: state for pair, state in self._stored_states.items() if pair not in self._failed_states},
            self._same_state,
        )
        documents = {
            key: document
            for key, document in self._stored_documents.items()
            if key[1] == HEAD or (key not in self._failed_documents and self._is_judged(key, document))
        }
        self._compare("document", self._documents, documents, self._same_document)

    def _is_judged(self, key: tuple[str, str], document: Document) -> bool:
        """Tell whether a document is compared: a stale document without facts behind it renders as no document."""
        return self._registry.find_stored(key[1]) is not None and (document.version != STALE or key in self._documents)

    def _compare(
        self,
        kind: Literal["document", "state", "identifier"],
        derived: Mapping[Any, Any],
        stored: Mapping[Any, Any],
        same: Callable[[Any, Any, str], bool],
    ) -> None:
        for key in sorted(derived.keys() | stored.keys()):
            name = "" if kind == "identifier" else key[1]
            reason: Literal["missing", "different", "unfounded"]
            if key not in stored:
                reason = "missing"
            elif key not in derived:
                reason = "unfounded"
            elif same(derived[key], stored[key], name):
                continue
            else:
                reason = "different"
            reported_kind = "head" if kind == "document" and name == HEAD else kind
            self._report.differences.append(Difference(self._tenant, reported_kind, name, reason))

    def _same_state(self, derived: StoredState, stored: StoredState, name: str) -> bool:
        section = self._registry.find_folded(name)
        assert section is not None
        if stored.version != derived.version:
            return True  # folded by older code: the next use folds it anew
        ours, theirs = projection.read_state(section, derived), projection.read_state(section, stored)
        # Joined with itself a state lets go of all that can no longer count: how much of that it still has depends on
        # the order in which its facts were recorded.
        try:
            with section.own_code():
                return theirs is not None and bool(section.fold.join(ours, ours) == section.fold.join(theirs, theirs))
        except PortraitError:
            self._report.failed[name] += 1
            return True

    def _same_document(self, derived: Document, stored: Document, _: str) -> bool:
        if stored.version != derived.version or stored.is_due(self._now):
            return True  # overtaken by newer code or by time: a read renders it anew from the state, compared too
        if stored.section != HEAD and content_hash(stored.body) != stored.hash:
            return False
        return stored == derived


def _of_each(section: StoredSection, profile: Profile, folded: Mapping[Identifier, dict[str, Any]]) -> list[Any]:
    """Return the states of a profile's identifiers in a section."""
    return [folded[identifier].get(section.name, section.fold.empty()) for identifier in profile.members]


def _links(
    registry: Registry,
    forms: Forms,
    folded: Mapping[Identifier, Mapping[str, Any]],
    evidence: Mapping[Identifier, LatestState],
) -> tuple[set[tuple[Pair, str | None]], set[tuple[Pair, str | None]]]:
    """Return what live records claim, by pair and source, and the claims that were decided on."""
    section = registry.find_stored(LINKS.document)
    if section is None or not isinstance(section.fold, EvidenceFold):
        return set(), set()
    words = words_of({identifier: states[LINKS.name] for identifier, states in folded.items() if LINKS.name in states})
    claimed = {((word.a, word.b), word.source) for word in words.values() if word.rule == Rule.RECORD}
    own = {identifier: states[section.name] for identifier, states in folded.items() if section.name in states}
    ends = {end for pair, _ in claimed for end in pair}
    elsewhere = Said(section, forms, {end: evidence[end] for end in ends if end in evidence}).claims()
    # A claim of a further identifier alone is judged with that identifier.
    live_claims = Said(section, forms, own).claims() | (elsewhere & claimed)
    return live_claims, {
        claim for claim in claimed if claim in live_claims or all(end in folded or end in evidence for end in claim[0])
    }
