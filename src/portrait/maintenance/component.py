"""Identifiers that are linked: what the facts say of their customers, beside what is held."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from portrait import projection
from portrait.identity.graph import Graph, Profile, aliases
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
    """Identifiers that are linked: what the facts say of their customers, beside what is held.

    A section whose own code raises an error, at whatever step, is counted and passed over, for the customer concerned.

    Args:
        registry: the sections.
        tenant: whose identifiers they are.
        now: a moment at which all that is held had been rendered, in microseconds.
        report: where to count.
        region: where the tenant's phone numbers without a country's prefix are from.
        facts: all facts of each identifier.
        graph: what links the identifiers.
        owners: the customer id under which each identifier is registered.
        documents: the documents and heads held, by customer id and section.
        states: the states held.
        evidence: what is held of evidence at further identifiers, with which links wait for review.
    """

    def __init__(
        self,
        registry: Registry,
        tenant: str,
        now: int,
        report: Report,
        *,
        region: str | None,
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
        self._held_owners = owners
        self._held_documents = documents
        self._held_states = {pair: state for pair, state in states.items() if registry.find_folded(pair[1])}
        self.customer_ids = {one.value for one in facts if one.type == CUSTOMER_ID} | set(owners.values())
        self.owners: dict[Identifier, str] = {}
        self.states: dict[tuple[Identifier, str], StoredState] = {}
        self._documents: dict[tuple[str, str], Document] = {}
        self._failed_states: set[tuple[Identifier, str]] = set()
        self._failed_documents: set[tuple[str, str]] = set()
        self._failed: set[tuple[str, str]] = set()
        """The same by customer, or by identifier where it is nobody's."""
        report.facts += sum(map(len, facts.values()))
        folded = {one: self._fold(one, told) for one, told in facts.items()}
        self._said, self._claimed = _links(registry, region, folded, evidence)
        for profile in graph.profiles():
            if profile.customer_id is not None and facts[customer(profile.customer_id)]:
                report.customers += 1
                self._derive(profile, profile.customer_id, folded)
        self._failed.update((one.tag, name) for one, name in self._failed_states if one not in self.owners)
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
        for name, told in by_section.items():
            section = self._registry.find_folded(name)
            if section is None:
                self._report.of_unregistered(name).facts += len(told)
                continue
            try:
                with section.own_code():
                    states[name] = projection.fold_facts(section, told)
                    self.states[identifier, name] = projection.store_state(section, states[name])
            except PortraitError:
                self._failed_states.add((identifier, name))
        return states

    def _derive(self, profile: Profile, owner: str, folded: Mapping[Identifier, dict[str, Any]]) -> None:
        """Make one customer's documents and heads from the facts, beside what is held."""
        told = [fact.recorded_at for one in profile.members for fact in self._facts[one]]
        now = max(self._now, *told)
        self.owners |= dict.fromkeys(profile.members, owner)
        failed = {name for one, name in self._failed_states if one in profile.members}
        for name in failed | {name for one in profile.members for name in folded[one]}:
            section = self._registry.find_folded(name)
            assert section is not None
            if shown_by(section) is not section:
                continue
            try:
                if name not in failed:
                    self._put(owner, self._render(section, profile, folded, now))
                    continue
            except PortraitError:
                failed.add(name)
            self._failed_documents.add((owner, section.document))
        self._failed.update((owner, name) for name in failed)
        own = profile.members == (customer(owner),)
        self._put(owner, head_document(self._head(owner, updated_at=max(told), members=() if own else profile.members)))
        for alias in aliases(profile):
            self._put(alias, head_document(self._head(alias, merged_into=owner)))

    def _render(
        self, section: StoredSection, profile: Profile, folded: Mapping[Identifier, dict[str, Any]], now: int
    ) -> Document:
        with section.own_code():
            states = self._of_each(section, profile, folded)
            if projection.may_clash(section, states):
                facts = {one: [f for f in self._facts[one] if f.section == section.name] for one in profile.members}
                shown = projection.without_told_otherwise(section, facts)
                states = [projection.fold_facts(section, told) for told in shown.values()]
            state = projection.joined(section, states)
            if projection.needs_links(section, state):
                state = projection.linked(state, self._of_each(LINKS, profile, folded))
            return projection.render(section, state, now)

    @staticmethod
    def _of_each(section: StoredSection, profile: Profile, folded: Mapping[Identifier, dict[str, Any]]) -> list[Any]:
        return [folded[one].get(section.name, section.fold.empty()) for one in profile.members]

    def _head(self, customer_id: str, **changes: Any) -> Head:
        first = projection.head_of(self._facts[customer(customer_id)])
        assert first is not None
        return msgspec.structs.replace(first, **{"updated_at": first.created_at, **changes})

    def _put(self, customer_id: str, document: Document) -> None:
        self._documents[customer_id, document.section] = document

    @property
    def changes(self) -> Changes:
        """What the facts lead to; what is held and has no ground in them is removed.

        In place of a document that failed stands a stale one.
        """
        registered = {HEAD, *(section.name for section in self._registry.all_stored())}
        owners = dict.fromkeys(self._held_owners.keys() - self.owners.keys())
        states = dict.fromkeys(self._held_states.keys() - self.states.keys() - self._failed_states)
        documents = dict.fromkeys(
            key
            for key in self._held_documents.keys() - self._documents.keys() - self._failed_documents
            if key[1] in registered
        )
        failed = {key: stale(key[1]) for key in self._failed_documents}
        return Changes((), owners | self.owners, states | self.states, documents | self._documents | failed)

    @property
    def pairs(self) -> set[Pair]:
        """The pairs of which records claim other than what was decided on."""
        return {pair for pair, _ in self._said ^ self._claimed}

    def compare(self) -> None:
        """Report how what is held differs from what the facts say.

        What live records claim is found without what was decided on: a second, independent way.
        """
        for place in sorted(self._said ^ self._claimed, key=str):
            reason: Literal["missing", "unfounded"] = "missing" if place in self._said else "unfounded"
            self._report.differences.append(Difference(self._tenant, "link", LINKS.document, reason))
        self._compare("identifier", self.owners, self._held_owners, lambda a, b, _: a == b)
        self._compare(
            "state",
            self.states,
            {pair: state for pair, state in self._held_states.items() if pair not in self._failed_states},
            self._same_state,
        )
        documents = {
            place: document
            for place, document in self._held_documents.items()
            if place[1] == HEAD or (place not in self._failed_documents and self._is_judged(place, document))
        }
        self._compare("document", self._documents, documents, self._same_document)

    def _is_judged(self, place: tuple[str, str], document: Document) -> bool:
        """Tell whether a document says anything: one that is stale and has no ground is rendered as none."""
        return self._registry.find_stored(place[1]) is not None and (
            document.version != STALE or place in self._documents
        )

    def _compare(
        self,
        kind: Literal["document", "state", "identifier"],
        derived: Mapping[Any, Any],
        held: Mapping[Any, Any],
        same: Callable[[Any, Any, str], bool],
    ) -> None:
        for place in sorted(derived.keys() | held.keys()):
            name = "" if kind == "identifier" else place[1]
            reason: Literal["missing", "different", "unfounded"]
            if place not in held:
                reason = "missing"
            elif place not in derived:
                reason = "unfounded"
            elif same(derived[place], held[place], name):
                continue
            else:
                reason = "different"
            shown = "head" if kind == "document" and name == HEAD else kind
            self._report.differences.append(Difference(self._tenant, shown, name, reason))

    def _same_state(self, derived: StoredState, held: StoredState, name: str) -> bool:
        section = self._registry.find_folded(name)
        assert section is not None
        if held.version != derived.version:
            return True  # folded by older code: the next use folds it anew
        ours, theirs = projection.read_state(section, derived), projection.read_state(section, held)
        # Joined with itself a state lets go of all that can no longer count: how much of that it still holds depends on
        # the order in which it was told.
        try:
            with section.own_code():
                return theirs is not None and bool(section.fold.join(ours, ours) == section.fold.join(theirs, theirs))
        except PortraitError:
            self._report.failed[name] += 1
            return True

    def _same_document(self, derived: Document, held: Document, _: str) -> bool:
        if held.version != derived.version or (held.valid_until is not None and held.valid_until <= self._now):
            return True  # overtaken by newer code or by time: a read renders it anew from the state, compared too
        if held.section != HEAD and content_hash(held.body) != held.hash:
            return False
        return held == derived


def _links(
    registry: Registry,
    region: str | None,
    folded: Mapping[Identifier, Mapping[str, Any]],
    evidence: Mapping[Identifier, LatestState],
) -> tuple[set[tuple[Pair, str | None]], set[tuple[Pair, str | None]]]:
    """Return what live records claim, by pair and source, and on which of their claims something was decided."""
    section = registry.find_stored(LINKS.document)
    if section is None or not isinstance(section.fold, EvidenceFold):
        return set(), set()
    words = words_of({one: states[LINKS.name] for one, states in folded.items() if LINKS.name in states})
    claimed = {((word.a, word.b), word.source) for word in words.values() if word.rule == Rule.RECORD}
    own = {one: states[section.name] for one, states in folded.items() if section.name in states}
    elsewhere = Said(section, region, evidence).claims()
    # What only a further identifier says is judged with that.
    said = Said(section, region, own).claims() | (elsewhere & claimed)
    known = folded.keys() | evidence.keys()
    return said, {one for one in claimed if one in said or known >= {*one[0]}}
