"""What is claimed of some identifiers and of those with which they are connected, and what is decided on it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from portrait.identity.claim import Claim, precedence
from portrait.identity.decisions import Decisions, decide
from portrait.identity.graph import LINKED, RETRACTED, Graph, Sets
from portrait.identity.rules import BY_HAND, Reason, Rule, Rules
from portrait.model.identifier import Identifier
from portrait.sections.base import StoredSection
from portrait.sections.identities import Statement
from portrait.sections.links import LinksState, bans_of
from portrait.writes.claims import NEW, Key, Word, graph_of_words, key_of, words_of
from portrait.writes.evidence import Concerned, Pair, Said
from portrait.writes.incoming import GivenIdentifier, Incoming
from portrait.writes.unit_of_work import UnitOfWork

MOST = 1000
"""About so many identifiers are decided on together: what waits between further ones stays as it was decided."""
MOST_LOOKED_UP = 20
"""Of how many of an identifier's claims that wait the other ends are looked up, those first that rank before others."""


class Stated(NamedTuple):
    """What somebody says of a link by hand, or matching does."""

    confidence: float
    source: str | None
    rule: Rule
    at: int = 0
    """From when it holds, in microseconds; 0: from now on."""
    credential: str | None = None
    """The id of the credential that acted, where somebody decided it by the API."""


class Neighbourhood:
    """The claims about some profiles, and about those with which links wait: as they are stored, and as said since.

    Args:
        unit: the working set.
        rules: the tenant's rules.
        now: the present moment.
    """

    def __init__(self, unit: UnitOfWork, rules: Rules, now: int) -> None:
        self._unit = unit
        self._rules = rules
        self._now = now
        self._loaded: set[Identifier] = set()
        self._stored: dict[Key, Word] = {}
        self._words: dict[Key, Word] = {}
        self._pairs: dict[tuple[Identifier, Identifier], set[str | None]] = {}
        """The sources whose records claim something of a pair."""
        self._states: dict[Identifier, LinksState] = {}
        self._bans: set[frozenset[Identifier]] = set()
        self._tried: set[Key] = set()
        self._formed: set[Key] = set()
        """The claims by forms that were made now."""
        self._retracted: dict[Key, tuple[Word, Rule, str | None]] = {}
        self._kept: dict[Key, Reason] = {}
        """Claims that hold though the rules of now refuse them, and why."""
        self._waiting: dict[Identifier, int] = {}
        self._moments = 0
        self.decisions = Decisions((), frozenset(), frozenset(), Sets(()))

    async def load(self, identifiers: Iterable[Identifier]) -> None:
        """Load the claims about the profiles of some identifiers, and about those with which links wait for review."""
        ahead = list(dict.fromkeys(identifiers))
        while ahead:
            await self._unit.reach(ahead)
            members = {
                member: None
                for identifier in ahead
                if self._unit.is_here(identifier)
                for member in self._unit.profile_of(identifier).members
                if member not in self._loaded
            }
            states = dict(zip(members, await self._unit.links(members), strict=True))
            self._loaded |= members.keys()
            self._states |= states
            waiting = list(self._take(states))
            ahead = (
                []
                if len(self._loaded) > MOST
                else [identifier for identifier in waiting if identifier not in self._loaded]
            )
        self._bans = {frozenset(pair) for pair in bans_of(self._states.values())}

    def _take(self, states: Mapping[Identifier, LinksState]) -> Iterator[Identifier]:
        """Take the words in states in, and yield the other ends of what waits, or holds and is of no profile yet."""
        waiting: dict[Identifier, list[Word]] = {}
        for word in words_of(states, self._stored).values():
            self._stored[word.key] = word
            self._put(word)
            if word.status == LINKED:
                yield from {word.a, word.b} - self._loaded  # identifiers that are nobody's may be linked by their forms
                continue
            for identifier in (word.a, word.b):
                if identifier in states:
                    waiting.setdefault(identifier, []).append(word)
        order = precedence(self._rules)
        for identifier, words in waiting.items():
            self._waiting[identifier] = len(words)
            for word in sorted(words, key=lambda word: order(self._claim(word)))[:MOST_LOOKED_UP]:
                yield word.b if identifier == word.a else word.a

    def _put(self, word: Word) -> None:
        self._words[word.key] = word
        if word.rule not in BY_HAND:
            self._pairs.setdefault((word.a, word.b), set()).add(word.source)

    def _claim(self, word: Word) -> Claim:
        return word.claim(self._rules, self._loaded, tried=word.key in self._tried)

    async def follow(self, section: StoredSection, pairs: Mapping[Pair, Concerned]) -> None:
        """Make what records claim of some pairs, which are loaded, just what live evidence says.

        Args:
            section: the section of evidence.
            pairs: the pairs, with what records of this unit of work say of them.
        """
        ends = {identifier for pair in pairs for identifier in pair}
        states = await self._unit.states(section, filter(self._unit.is_known, ends))
        evidence = Said(section, self._rules.forms, states)
        for (a, b), concerned in pairs.items():
            self._follow(a, b, {a: evidence.of(a, b), b: evidence.of(b, a)}, concerned)

    def _follow(
        self, a: Identifier, b: Identifier, statements: Mapping[Identifier, Collection[Statement]], concerned: Concerned
    ) -> None:
        by_source: dict[str | None, list[tuple[Identifier, Statement]]] = {}
        for identifier, every in statements.items():
            for each in every:
                by_source.setdefault(each.source, []).append((identifier, each))
        for source in self._pairs.get((a, b), set()) - by_source.keys():
            if self._words[a, b, False, source].rule == Rule.RECORD:
                self._retract((a, b, False, source), Rule.RECORD)
        for source in concerned.sources - by_source.keys():  # what it says was ended before it said so
            key = a, b, False, source
            if key not in self._stored and key not in self._retracted:
                word = Word(a, b, (a.value, b.value), source, Rule.RECORD, 1.0, 0, 0, timed=False, status=RETRACTED)
                self._retracted[key] = word, Rule.RECORD, None
        for source, own in by_source.items():
            self._record(a, b, source, own, concerned.given_values, is_retold=source in concerned.sources)

    def _record(
        self,
        a: Identifier,
        b: Identifier,
        source: str | None,
        statements: Collection[tuple[Identifier, Statement]],
        given_values: Mapping[Identifier, str],
        *,
        is_retold: bool,
    ) -> None:
        """Claim what one source's records say of two identifiers."""
        newest = max((each for _, each in statements), key=lambda each: (each.at, each.recorded_at, each.id))
        first = min((each for _, each in statements), key=lambda each: each.since)
        earlier = self._words.get((a, b, False, source))
        values = dict(zip((a, b), (a.value, b.value) if earlier is None else earlier.given_values, strict=True))
        if earlier is None or newest.at >= earlier.at:
            values |= given_values
        for identifier, each in sorted(statements, key=lambda item: (item[1].at, item[1].recorded_at)):
            values[b if identifier == a else a] = each.record.value
        word = Word(
            a, b, (values[a], values[b]), source, Rule.RECORD, newest.record.confidence, newest.at, first.since,
            first.timed, NEW if earlier is None else earlier.status, None if earlier is None else earlier.into, None,
            self._rules.name if earlier is None else earlier.policy,
        )  # fmt: skip
        if is_retold or earlier is None:
            final = self._final(word)
            if final is not None and earlier is not None and earlier.status == LINKED:
                self._kept[earlier.key] = final  # rules that came later undo no link
                return
            if final is not None:
                word = msgspec.structs.replace(word, status=final.value, policy=self._rules.name)
            elif earlier is not None and earlier.status != LINKED:
                word = msgspec.structs.replace(word, status=NEW, policy=self._rules.name)
        self._put(word)

    def _final(self, word: Word) -> Reason | None:
        """Return why a claim is refused by itself, whatever else is known; None: it is not."""
        if not self._rules.knows(word.a.type) or not self._rules.knows(word.b.type):
            return Reason.UNKNOWN_TYPE
        if any(map(self._rules.blocks, (word.a, word.b), word.given_values)):
            return Reason.BLOCKED_VALUE
        return None

    def state(
        self, a: GivenIdentifier, b: GivenIdentifier, stated: Stated, *, into: str | None = None, tried: bool = False
    ) -> None:
        """Claim by hand, or by matching, that two identifiers are one person.

        Args:
            a: the one.
            b: the other.
            stated: what is said.
            into: the customer id that stays.
            tried: whether the rules are asked.

        """
        (identifier, value), (other, their) = sorted((a, b))
        key = identifier, other, stated.rule in BY_HAND, stated.source
        earlier = self._words.get(key)
        record = self._words.get((identifier, other, False, stated.source))
        before = [each.since for each in (earlier, record) if each is not None and each.status == LINKED]
        since = stated.at or min(before, default=0) or self._moment(identifier, other)
        if into is None and earlier is not None and earlier.status == LINKED:
            into = earlier.into
        word = Word(
            identifier, other, (value, their), stated.source, stated.rule, stated.confidence, stated.at or self._now,
            since, stated.at > 0, NEW, into, stated.credential, self._rules.name,
        )  # fmt: skip
        if tried:
            self._tried.add(key)
            if (final := self._final(word)) is not None:
                word = msgspec.structs.replace(word, status=final.value)
        self._put(word)

    def _moment(self, a: Identifier, b: Identifier) -> int:
        """Return a moment after all that was told of two identifiers' customers, and after all given out before."""
        self._moments += 1
        return max(map(self._unit.recorded_at, (a, b))) + self._moments

    def _retract(self, key: Key, rule: Rule, credential: str | None = None) -> None:
        word = self._words.pop(key)
        if not key[2]:
            self._pairs[key[:2]].discard(key[3])
        if key in self._stored:
            self._retracted[key] = word, rule, credential
        if key[2] and rule != Rule.RECORD:  # the same source's records say what they say
            self._stored.pop((*key[:2], False, key[3]), None)

    def decide(self) -> None:
        """Decide on all claims that are loaded or were said since."""
        keys = list(self._words)
        self.decisions = decide([self._claim(self._words[key]) for key in keys], self._bans, self._loaded, self._rules)
        for index, (key, reason) in enumerate(zip(keys, self.decisions.reasons, strict=True)):
            self._words[key] = self._words[key].decided(reason, follows=index in self.decisions.following)

    def outcome(self, record: Incoming, *, by_hand: bool = False) -> tuple[Reason | None, bool]:
        """Return what the rules have against a link that a record claims, and whether it holds nevertheless."""
        assert record.linked is not None
        a, b = record.identifier, record.linked.named.identifier
        if a == b:
            return Reason.SELF_LINK, False
        word = self._words.get(key_of(a, b, record.source, by_hand=by_hand))
        if word is None:
            return None, False
        if word.status != LINKED:
            return Reason(word.status), False
        if (kept := self._kept.get(word.key)) is not None:
            return kept, True
        is_new = self._stored.get(word.key) != word
        is_shared = is_new and self._rules.shared == "warn" and not self.decisions.shared.isdisjoint(word.pair)
        return Reason.SHARED_IDENTIFIER if is_shared else None, True

    def graph(self, identifiers: Collection[Identifier]) -> Graph:
        """Return the graph of the claims that hold between some identifiers, which are of whole profiles."""
        words = (word for word in self._words.values() if word.a in identifiers)
        return graph_of_words(words, identifiers, self._bans)

    def _given(self, identifier: Identifier) -> str:
        """Return an identifier's value as it was given last."""
        values = [
            (word.at, word.given_values[0] if word.a == identifier else word.given_values[1])
            for word in self._words.values()
            if identifier in (word.a, word.b)
        ]
        return max(values, default=(0, identifier.value))[1]

    def as_given(self, a: Identifier, b: Identifier) -> tuple[GivenIdentifier, GivenIdentifier]:
        """Return two identifiers as they were given last where they were linked, or else in any link."""
        words = [word for word in self._words.values() if word.pair == {a, b}]
        if not words:
            return GivenIdentifier(a, self._given(a)), GivenIdentifier(b, self._given(b))
        newest = max(words, key=lambda word: word.at)
        given_values = dict(zip((newest.a, newest.b), newest.given_values, strict=True))
        return GivenIdentifier(a, given_values[a]), GivenIdentifier(b, given_values[b])
