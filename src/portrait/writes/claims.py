"""Claims as they are stored: of each pair of identifiers what every source says, and what was decided on it."""

from collections.abc import Collection, Container, Iterable, Mapping

import msgspec

from portrait.identity.claim import Claim
from portrait.identity.decisions import decide
from portrait.identity.graph import LINKED, RETRACTED, Graph, LinkRecord
from portrait.identity.rules import BY_HAND, Reason, Rule, Rules
from portrait.model.identifier import Identifier
from portrait.sections.links import LinksState, ends_of

NEW = ""
"""The status of a claim that was not decided on yet."""
LAST = 2**62
"""From when a claim counts that is made now: after all others."""

Key = tuple[Identifier, Identifier, bool, str | None]


def key_of(identifier: Identifier, other: Identifier, source: str | None, *, by_hand: bool) -> Key:
    """Return the key of what a source claims of two identifiers."""
    a, b = (identifier, other) if identifier < other else (other, identifier)
    return a, b, by_hand, source


class Word(msgspec.Struct, frozen=True):
    """One claim, with all that is stored of it."""

    a: Identifier
    b: Identifier
    """The two, in order."""
    given_values: tuple[str, str]
    """The values of the two as they were given."""
    source: str | None
    rule: str
    confidence: float
    at: int
    since: int
    timed: bool
    status: str
    into: str | None = None
    credential: str | None = None
    policy: str | None = None
    follows: bool = False

    def decided(self, reason: Reason | None, *, follows: bool) -> "Word":
        """Return it as it was decided: refused for a reason, or held; in that case, whether only by following."""
        status = LINKED if reason is None else reason.value
        if (status, follows) == (self.status, self.follows):
            return self
        return msgspec.structs.replace(self, status=status, follows=follows)

    @property
    def key(self) -> Key:
        """What tells it from others: of each source there is one by hand and one of its records."""
        return self.a, self.b, self.rule in BY_HAND, self.source

    @property
    def joins(self) -> tuple[str, int, bool]:
        """What decides whether it joins the two, and since when."""
        return self.status, self.since, self.follows

    @property
    def pair(self) -> frozenset[Identifier]:
        """Its two ends."""
        return frozenset((self.a, self.b))

    def claim(self, rules: Rules, known: Collection[Identifier], *, tried: bool = False) -> Claim:
        """Return what is to be decided.

        Args:
            rules: the tenant's rules.
            known: the identifiers all of whose claims are known; one between others stays as it was decided.
            tried: whether somebody makes it now, if no rule refuses it.
        """
        is_settled = (self.policy != rules.name and not self.follows) or self.a not in known or self.b not in known
        return Claim(
            self.a, self.b, self.source, self.rule, self.confidence, self.since or LAST, self.timed, self.status,
            settled=is_settled and self.status != NEW, tried=tried,
        )  # fmt: skip


def words_of(states: Mapping[Identifier, LinksState], before: Mapping[Key, Word] | None = None) -> dict[Key, Word]:
    """Return all that is stored at some identifiers.

    Args:
        states: their links.
        before: what is stored at others; each end of a pair says how the other was given.
    """
    ends: dict[Key, list[LinkRecord | None]] = {}
    for identifier, state in states.items():
        for other, every in ends_of(state, identifier).items():
            a, b, end = (identifier, other, 0) if identifier < other else (other, identifier, 1)
            for record in every:
                ends.setdefault((a, b, record.is_by_hand, record.source), [None, None])[end] = record
    return {key: _word(key, record[0], record[1], before.get(key) if before else None) for key, record in ends.items()}


def _word(key: Key, at_a: LinkRecord | None, at_b: LinkRecord | None, before: Word | None) -> Word:
    """Return one claim by what is told of it at its two ends."""
    a, b, *_ = key
    given_values = (a.value, b.value) if before is None else before.given_values
    given_values = given_values[0] if at_b is None else at_b.value, given_values[1] if at_a is None else at_a.value
    record = at_a or at_b
    assert record is not None
    rule, status = record.rule, record.status
    if status == RETRACTED:  # split off, by an earlier version
        rule, status = Rule.RECORD, Reason.SHARED_IDENTIFIER.value
    return Word(
        a, b, given_values, record.source, rule, record.confidence, record.at, record.since, record.timed, status,
        record.into, record.credential, record.policy, record.follows,
    )  # fmt: skip


def graph_of_words(
    words: Iterable[Word], identifiers: Iterable[Identifier], bans: Collection[frozenset[Identifier]] = ()
) -> Graph:
    """Return the graph of the claims that hold.

    Args:
        words: the claims.
        identifiers: the identifiers that are in the graph; of others there is nothing.
        bans: the pairs that are not to be one person.
    """
    ends: dict[Identifier, dict[Identifier, list[LinkRecord]]] = {identifier: {} for identifier in identifiers}
    for word in words:
        if word.status == LINKED:
            for identifier, other, value in (
                (word.a, word.b, word.given_values[1]),
                (word.b, word.a, word.given_values[0]),
            ):
                ends[identifier].setdefault(other, []).append(_told(word, value))
    return Graph(ends, bans)


def state_of(words: Iterable[Word], identifiers: Container[Identifier]) -> LinksState:
    """Return the state of links that some claims make at some identifiers."""
    ends: dict[str, dict[str, list[LinkRecord]]] = {}
    for word in words:
        for identifier, other, value in (
            (word.a, word.b, word.given_values[1]),
            (word.b, word.a, word.given_values[0]),
        ):
            if identifier in identifiers:
                ends.setdefault(identifier.tag, {}).setdefault(other.tag, []).append(_told(word, value))
    return LinksState(ends)


def _told(word: Word, value: str) -> LinkRecord:
    return LinkRecord(
        0, b"", word.source, value, word.confidence, word.rule, word.at, word.since or LAST, word.status, word.into,
        word.credential, word.timed, word.policy, word.follows,
    )  # fmt: skip


def decided_words(
    words: Collection[Word], bans: Collection[frozenset[Identifier]], identifiers: Collection[Identifier], rules: Rules
) -> list[Word]:
    """Return some claims as they are decided on together."""
    every = list(words)
    known = set(identifiers)
    decisions = decide([word.claim(rules, known) for word in every], bans, known, rules)
    return [
        word.decided(reason, follows=index in decisions.following)
        for index, (word, reason) in enumerate(zip(every, decisions.reasons, strict=True))
    ]
