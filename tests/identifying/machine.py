"""Anything that happens to an identity graph, in any order, and what holds at all times."""

import asyncio
import json
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness import Clock
from portrait.app import build
from portrait.identity.rules import read
from portrait.ingest.records import Parser
from portrait.model.errors import (
    CustomerNotFound,
    LinkRefused,
    NotMerged,
    SelfLink,
    StillMerged,
    UnknownIdentifierType,
)
from portrait.model.identifier import CUSTOMER_ID, Identifier, customer, is_generated
from portrait.projection import load_states
from portrait.sections.links import bans_of
from portrait.writes.match_links import Suggested

TENANT = "t"
RUNS = int(os.environ.get("PORTRAIT_TEST_MACHINE_RUNS", "30"))
"""How often the machine runs for each engine; 500 to be thorough."""
SETTINGS = settings(
    max_examples=RUNS,
    stateful_step_count=50,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.shrink or os.environ.get("PORTRAIT_TEST_SHRINK")],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

CUSTOMERS = ("A", "B", "C")
NAMED = [
    *(("customer_id", name) for name in CUSTOMERS),
    *(("email", f"{name}@example.org") for name in "ab"),
    ("phone", "+4930901820"),
    *(("device_id", name) for name in ("d1", "d2")),
    *(("anonymous_id", name) for name in ("n1", "n2")),
    ("loyalty", "l1"),
]
named = st.sampled_from(NAMED)
customers = st.sampled_from(CUSTOMERS)
confidences = st.sampled_from([0.3, 0.6, 0.9, 1.0])
sources = st.sampled_from(["crm", "web", "shop"])
RULES = [
    None,
    {"types": {"customer_id": {"unique": False}, "loyalty": {}}, "weakGuard": False, "minConfidence": 0},
    {"shared": "split", "types": {"device_id": {"weak": True, "sharedFrom": 2}}, "maxIdentifiers": 6},
    {"types": {"email": {"unique": True}, "anonymous_id": {"weak": True, "limit": 1, "windowDays": 1}}},
]


def without_made(stored):
    """Return the stored state without generated customer ids: an id generated meanwhile stays with its identifiers."""
    documents, owners = stored
    return documents, {
        identifier: owner
        for identifier, owner in owners.items()
        if not (identifier.type == CUSTOMER_ID and is_generated(identifier.value))
    }


def named_members(profiles):
    """Return the profiles as sets of the identifiers that were given: ids are generated anew for each effect."""
    return {
        frozenset(
            identifier
            for identifier in profile.members
            if identifier.type != CUSTOMER_ID or not is_generated(identifier.value)
        )
        for profile in profiles
    }


class Machine(RuleBasedStateMachine):
    """Drives one database; a subclass says which."""

    def database(self) -> str:
        """Return the URL of a database, empty or with other tenants."""
        self.directory = Path(tempfile.mkdtemp())
        return f"sqlite:///{self.directory / 'portrait.db'}"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory: Path | None = None
        self.clock = Clock()
        self.services = build(self.database(), clock=self.clock, auth="open", installed=False)
        self.events = 0

    def run(self, work):
        return self.loop.run_until_complete(work)

    @initialize(rules=st.sampled_from(RULES))
    def begin(self, rules):
        self.tenant = self.run(self.services.access.create_tenant(TENANT))
        raw = None if rules is None else json.dumps(rules).encode()
        self.run(self.services.rules.set(TENANT, raw))
        self.tenant = self.tenant._replace(rules=raw)
        self.rules = read(raw)

    def teardown(self):
        try:
            if hasattr(self, "tenant"):
                self.sound()
        finally:
            self.run(self.services.close())
            self.loop.close()
            if self.directory:
                shutil.rmtree(self.directory)

    def incoming(self, *lines):
        parser = Parser(self.tenant, "test")
        parsed = [parser.line(at, json.dumps(line).encode(), self.services.registry) for at, line in enumerate(lines)]
        return [record for record in parsed if hasattr(record, "section")]

    def line(self, subject, section, record, source="test"):
        type_, value = subject
        return {"identifier": {"type": type_, "value": value}, "section": section, "record": record, "source": source}

    def done(self, work, must=None, may=()):
        """Do work that must be refused with one error, or may be refused with some and no other; return its result.

        Refused work changes nothing, and its result is None.
        """
        before = self.run(self.stored_state())
        expected = (must,) if must else may
        try:
            result = self.run(work)
        except expected:
            assert self.run(self.stored_state()) == before
            return None
        assert must is None, f"{must.__name__} was due"
        return result

    def owner(self, subject):
        """Return the customer id that owns an identifier; None: it has no owner."""
        identifier = Identifier(*subject)
        return self.run(self.services.store.resolve(TENANT, [identifier])).get(identifier)

    def faults(self, a, b, *, one_person):
        """Return the error that an action on two customers has to raise; `one_person`: it needs them to be one."""
        if a == b:
            return SelfLink
        owners = [self.owner((CUSTOMER_ID, customer_id)) for customer_id in (a, b)]
        if None in owners:
            return CustomerNotFound
        return NotMerged if one_person and owners[0] != owners[1] else None

    @property
    def capped(self):
        """The errors that a join may raise: too many identifiers, where the rules have a low cap."""
        return (LinkRefused,) if self.rules.max_identifiers < len(NAMED) else ()

    def apart(self, a, b):
        """Return whether a ban keeps two profiles apart, other than one on just the two given identifiers."""
        store, links = self.services.store, self.services.registry.find_folded("links")
        owners = {identifier: self.owner(identifier) for identifier in (a, b)}
        members = self.run(store.members(TENANT, set(filter(None, owners.values()))))
        left, right = ({Identifier(*identifier), *members.get(owners[identifier], ())} for identifier in (a, b))
        if left & right:
            return False
        states = self.run(load_states(store, TENANT, links, left | right))
        just = {Identifier(*a), Identifier(*b)}
        return any(
            len({*pair} & left) == len({*pair} & right) == 1 and {*pair} != just for pair in bans_of(states.values())
        )

    def merging(self, into, source):
        """Return the error that a merge has to raise, or None."""
        a, b = (CUSTOMER_ID, into), (CUSTOMER_ID, source)
        return self.faults(into, source, one_person=False) or (LinkRefused if self.apart(a, b) else None)

    async def stored_state(self):
        """Return every document by customer, heads not among them, and every identifier's owner."""
        store = self.services.store
        names = await store.derived_customers(TENANT, None, 10_000)
        documents = await store.all_documents(TENANT, names)
        owners = await store.resolve(TENANT, await store.derived_identifiers(TENANT, None, 10_000))
        bodies = {
            # A document without records counts as none.
            name: {
                document.section: (document.body, document.hash, document.valid_until)
                for document in customer_documents
                if document.section and document.body != b"[]"
            }
            for name, customer_documents in documents.items()
        }
        return {name: sections for name, sections in bodies.items() if sections}, owners

    @rule(subject=named, other=named, confidence=confidences, source=sources)
    def link(self, subject, other, confidence, source):
        record = {"type": other[0], "value": other[1], "confidence": confidence}
        self.run(
            self.services.recorder.record_each(TENANT, self.incoming(self.line(subject, "identities", record, source)))
        )

    @rule(links=st.lists(st.tuples(named, named), min_size=2, max_size=4))
    def link_several(self, links):
        lines = [self.line(a, "identities", {"type": b[0], "value": b[1]}) for a, b in links]
        self.run(self.services.recorder.record_each(TENANT, self.incoming(*lines)))

    @rule(subject=named, section=st.sampled_from(["interactions", "segments", "consent", "experiments"]))
    def tell(self, subject, section):
        self.events += 1
        day = f"2026-05-{self.events % 28 + 1:02}T00:00:00Z"
        record = {
            "interactions": {"id": f"e{self.events}", "interactionType": "view", "timestamp": day},
            "segments": {"segmentId": f"s{self.events % 3}", "segmentName": "s", "memberSince": day},
            "consent": {"kind": "consent", "purpose": "p", "status": "granted", "grantedAt": day},
            "experiments": {"experimentId": "x", "experimentName": "x", "variant": day[8:10], "assignedAt": day},
        }[section]
        self.run(self.services.recorder.record_each(TENANT, self.incoming(self.line(subject, section, record))))

    @rule(customer_id=customers, other=named, confidence=confidences)
    def link_by_hand(self, customer_id, other, confidence):
        record = {"type": other[0], "value": other[1], "confidence": confidence}
        incoming = self.incoming(self.line(("customer_id", customer_id), "identities", record))
        must = SelfLink if other == (CUSTOMER_ID, customer_id) else None
        must = must if self.rules.knows(other[0]) else UnknownIdentifierType
        self.done(self.services.identities.link(TENANT, incoming), must, (LinkRefused,))

    @rule(customer_id=customers, other=named)
    def unlink(self, customer_id, other):
        owner = self.owner((CUSTOMER_ID, customer_id))
        if other == (CUSTOMER_ID, customer_id):
            must = SelfLink
        elif owner is None:
            must = CustomerNotFound
        else:
            must = None if self.owner(other) == owner else NotMerged
        self.done(self.services.identities.unlink(TENANT, customer_id, Identifier(*other), None), must)

    @rule(into=customers, source=customers)
    def merge(self, into, source):
        must = self.merging(into, source)
        self.done(self.services.identities.merge(TENANT, into, source, None), must, self.capped)

    @rule(into=customers, source=customers)
    def unmerge(self, into, source):
        must = self.faults(into, source, one_person=True)
        self.done(self.services.identities.unmerge(TENANT, into, source, None), must)

    @rule(into=customers, source=customers)
    def merge_then_unmerge_restores_everything(self, into, source):
        identities = self.services.identities
        owners = self.run(self.services.store.resolve(TENANT, [customer(into), customer(source)]))
        if len(set(owners.values())) < 2:
            return
        before = self.run(self.stored_state())
        if self.done(identities.merge(TENANT, into, source, None), self.merging(into, source), self.capped) is None:
            return
        self.run(identities.unmerge(TENANT, into, source, None))
        after = self.run(self.stored_state())
        for earlier, later in zip(without_made(before), without_made(after), strict=True):
            assert [
                (key, earlier.get(key), later.get(key))
                for key in {*earlier, *later}
                if earlier.get(key) != later.get(key)
            ] == []

    @rule(into=customers, source=customers)
    def a_preview_changes_nothing(self, into, source):
        before = self.run(self.stored_state())
        must = self.merging(into, source)
        effect = self.done(self.services.identities.merge(TENANT, into, source, None, dry=True), must, self.capped)
        if effect is None:
            return
        assert self.run(self.stored_state()) == before
        done = self.run(self.services.identities.merge(TENANT, into, source, None))
        assert named_members(done.after) == named_members(effect.after)

    @rule(customer_id=customers, accept=st.booleans())
    def review(self, customer_id, accept):
        identities = self.services.identities
        must = None if self.owner((CUSTOMER_ID, customer_id)) else CustomerNotFound
        explained = self.done(self.services.explainer.explain(TENANT, customer_id), must)
        if explained is None or not explained.candidates:
            return
        a, b = explained.candidates[0].a, explained.candidates[0].b
        if accept:
            must = LinkRefused if self.apart(a, b) else None
            self.done(identities.accept(TENANT, a, b, None), must, self.capped)
        else:
            self.done(identities.reject(TENANT, a, b, None), StillMerged if self.owner(a) == self.owner(b) else None)

    @rule(pairs=st.lists(st.tuples(customers, customers, st.sampled_from([0.6, 0.97])), min_size=1, max_size=3))
    def match(self, pairs):
        suggestions = [Suggested(a, b, probability, probability > 0.9) for a, b, probability in pairs if a != b]
        self.run(self.services.matches.suggest(TENANT, suggestions, "match"))

    @rule()
    def forget_what_was_matched(self):
        self.run(self.services.matches.forget(TENANT, "match"))
        assert self.run(self.services.matches.forget(TENANT, "match")) == 0

    @rule(customer_id=customers, section=st.sampled_from(["identities", "interactions", "segments"]))
    def delete(self, customer_id, section):
        stored = self.services.registry.stored(section)
        must = None if self.owner((CUSTOMER_ID, customer_id)) else CustomerNotFound
        pages = self.services.lists.states if stored.kind == "state" else self.services.lists.events
        page = self.done(pages(TENANT, customer_id, stored, None, 1), must)
        for record in page.items if page else ():
            self.done(self.services.recorder.delete(TENANT, customer_id, stored, record.key, None))

    @rule()
    def time_goes_on(self):
        self.clock.advance(3600 * 20)

    @invariant()
    def each_identifier_has_one_owner_that_says_so(self):
        if not hasattr(self, "tenant"):
            return
        documents, owners = self.run(self.stored_state())
        heads = dict(self.run(self.services.store.customers(TENANT, None, 1000)))
        members = {identifier: name for name, head in heads.items() for identifier in head.identifiers(name)}
        assert members == owners
        assert sum(len(head.identifiers(name)) for name, head in heads.items()) == len(members)
        assert documents.keys() <= heads.keys()
        for name in heads:
            assert Identifier(CUSTOMER_ID, name) in members

    def sound(self):
        report = self.run(self.services.upkeep.check())
        assert report.differences == []
