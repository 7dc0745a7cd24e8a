"""What was decided of links becomes facts, and identifiers are grouped by it."""

import msgspec

from portrait.identity.claim import FINAL
from portrait.identity.graph import RETRACTED, Profile
from portrait.identity.rules import Reason
from portrait.model.identifier import CUSTOMER_ID, Identifier, generated, is_generated
from portrait.sections.links import Decision
from portrait.writes.claims import Word
from portrait.writes.incoming import GivenIdentifier
from portrait.writes.neighbourhood import Neighbourhood

MOST_WAITING = 1000
"""How many claims wait at an identifier that others name: further ones wait at their other ends alone."""


class Regrouping(Neighbourhood):
    """Records what was decided, and regroups identifiers by it."""

    async def apply(self) -> None:
        """Tell what was decided, and group the identifiers by it."""
        changed = [(key, word) for key, word in self._words.items() if self._stored.get(key) != word]
        gone, come = self._regrouped()
        founded: list[tuple[Identifier, Identifier]] = []
        nameless = [identifier for profile in come if profile.customer_id is None for identifier in profile.members]
        with_records = await self._unit.with_records(nameless) if nameless else set()
        for index, profile in enumerate(come):
            first = next(filter(with_records.__contains__, profile.members), None)
            if profile.customer_id is None and first is not None:
                anchor = generated()
                founded.append((first, anchor))
                come[index] = Profile(anchor.value, tuple(sorted((*profile.members, anchor))))
        regrouped = {identifier for profile in come for identifier in profile.members}
        come += [Profile(identifier.value, (identifier,)) for identifier in self._named() - regrouped]
        if gone or come:
            self._unit.regroup(gone, come)
        for word, rule, credential in self._retracted.values():
            self._tell(msgspec.structs.replace(word, rule=rule, status=RETRACTED, credential=credential, into=None))
            self._unit.relinked.update(word.pair)
        for key, word in changed:
            self._tell(word)
            before = self._stored.get(key)
            if before is None or (before.status, before.since, before.follows) != (
                word.status,
                word.since,
                word.follows,
            ):
                self._unit.relinked.update(word.pair)
        for first, anchor in founded:
            self._unit.found_customer(GivenIdentifier(first, self._given(first)), anchor)
        self._stored = dict(self._words)
        self._retracted = {}

    def _regrouped(self) -> tuple[list[Profile], list[Profile]]:
        """Return the profiles that are no more, and those that are instead, as far as the claims say."""
        before = self._unit.profiles_of(self._loaded)
        members = {frozenset(profile.members): profile for profile in before}
        chosen = {
            identifier for word in self._words.values() if word.into is not None for identifier in (word.a, word.b)
        }
        open_: set[Identifier] = set()
        for _, group in self.decisions.sets.all():
            profile = members.get(frozenset(group))
            if profile is None or not (chosen.isdisjoint(group) and _is_plain(profile)):
                open_.update(group)
        after = self.graph(open_ & self._loaded).profiles()
        concerned = [profile for profile in before if not open_.isdisjoint(profile.members)]
        stays = {*map(_mark, concerned)} & {*map(_mark, after)}
        return (
            [profile for profile in concerned if _mark(profile) not in stays],
            [profile for profile in after if _mark(profile) not in stays],
        )

    def _named(self) -> set[Identifier]:
        """Return the customer ids that nobody knew and evidence names, whatever became of it: each is a customer's."""
        words = (*self._words.values(), *(word for word, *_ in self._retracted.values()))
        ends = {identifier for word in words if word.status not in FINAL for identifier in (word.a, word.b)}
        return {
            identifier
            for identifier in ends
            if identifier.type == CUSTOMER_ID and identifier in self._loaded and not self._unit.is_known(identifier)
        }

    def _tell(self, word: Word) -> None:
        decision = Decision(
            rule=word.rule, at=word.at, since=word.since, confidence=word.confidence, status=word.status,
            into=word.into, credential=word.credential, timed=word.timed, policy=word.policy,
            follows=word.follows,
        )  # fmt: skip
        ends = [
            (identifier, other, msgspec.structs.replace(decision, value=value))
            for identifier, other, value in (
                (word.a, word.b, word.given_values[1]),
                (word.b, word.a, word.given_values[0]),
            )
            if self._keeps(identifier, word)
        ]
        self._unit.add_decisions(ends, word.source, apart=False)

    def _keeps(self, identifier: Identifier, word: Word) -> bool:
        """Tell whether a word is told at one of its ends: at one that is somebody's, or that others will ask about."""
        if self._unit.is_known(identifier):
            return True
        is_about_two = word.status not in {Reason.UNKNOWN_TYPE, Reason.BLOCKED_VALUE}
        return (
            identifier in self._loaded
            and identifier.type != CUSTOMER_ID
            and is_about_two
            and self._waiting.get(identifier, 0) < MOST_WAITING
        )


def _is_plain(profile: Profile) -> bool:
    """Tell whether a profile can have but one customer id: the company's only one, or none at all."""
    names = [identifier.value for identifier in profile.members if identifier.type == CUSTOMER_ID]
    own = [name for name in names if not is_generated(name)]
    return own == [profile.customer_id] or not names


def _mark(profile: Profile) -> tuple[str | None, frozenset[Identifier]]:
    return profile.customer_id, frozenset(profile.members)
