"""What the forms of identifiers claim: that one is the other's hash, or the same under an older form."""

from collections.abc import Mapping

import msgspec

from portrait.identity.graph import LINKED
from portrait.identity.rules import OF_FORMS, Reason, Rule
from portrait.model.identifier import CUSTOMER_ID, Identifier
from portrait.sections.base import StoredSection
from portrait.sections.links import Decision, link_key
from portrait.writes.claims import key_of
from portrait.writes.evidence import Concerned
from portrait.writes.incoming import GivenIdentifier
from portrait.writes.neighbourhood import Stated
from portrait.writes.regrouping import Regrouping


class FormClaims(Regrouping):
    """Claims what forms say, beside what sources and people say."""

    def tell_hashes(self, clear: Mapping[Identifier, str]) -> None:
        """Claim that clear identifiers and their hashes are one, where that is not claimed yet.

        Args:
            clear: the identifiers, with their values as they were given.
        """
        for identifier, value in clear.items():
            for other in self._rules.hashes(identifier):
                named = GivenIdentifier(identifier, value), GivenIdentifier(other, other.value)
                self._state_form(*named, Rule.HASH)

    async def rekey(self, section: StoredSection, old: Identifier, new: Identifier) -> None:
        """Have what is known of an identifier under an older form be known under its form of now.

        Evidence says what it says in the forms of now. Bans hold for the new form too. Where the older one is still
        somebody's, because records are of it or somebody linked it, the two are claimed to be one. So are a clear one
        and its hashes.

        Args:
            section: the section of evidence.
            old: the identifier as it is stored.
            new: the same in its form of now, which may be the form that it has.
        """
        await self.load((old, new, *self._rules.hashes(new)))
        if old != new:
            await self._renew(section, old, new)
        self.tell_hashes({new: self._given(old)})
        self.decide()
        await self.apply()

    async def _renew(self, section: StoredSection, old: Identifier, new: Identifier) -> None:
        others = {other for word in self._words.values() if old in word.pair for other in word.pair} - {old}
        renewed = {self._rules.forms.of(*other) for other in others} - {new}
        await self.load((*others, *renewed))
        self._carry_bans(old, new)
        ends = [(a, b) for a in (old, new) for b in others | renewed if a != b]
        pairs = {(a, b) if a < b else (b, a): Concerned(set(), {}) for a, b in ends}
        await self.follow(section, pairs)
        if any(old in word.pair for word in self._words.values()) or await self._unit.with_records([old]):
            self._state_form(GivenIdentifier(old, self._given(old)), GivenIdentifier(new, self._given(old)), Rule.REKEY)

    def _carry_bans(self, old: Identifier, new: Identifier) -> None:
        """Keep an identifier's form of now apart from what its older form is kept apart from."""
        stated = Stated(1.0, Rule.REKEY, Rule.CANNOT_LINK)
        for pair in [pair for pair in self._bans if old in pair]:
            (other,) = pair - {old}
            for end in {other, self._rules.forms.of(*other)} - {new}:
                if not self._was_banned(end, new):
                    self._ban(end, new, stated, LINKED)

    def _was_banned(self, a: Identifier, b: Identifier) -> bool:
        """Tell whether two were ever kept apart: a ban that somebody lifted does not come back."""
        ends = ((a, b), (b, a))
        return any(
            link_key(other) in self._states[end].bans.get(end.tag, {}) for end, other in ends if end in self._states
        )

    def refused_forms(self) -> list[Reason]:
        """Return for what reasons claims by the forms of identifiers that were made now are refused."""
        return [
            Reason(word.status)
            for key, word in self._words.items()
            if word.rule in OF_FORMS and word.status != LINKED and key in self._formed
        ]

    def _state_form(self, a: GivenIdentifier, b: GivenIdentifier, rule: Rule) -> None:
        """Claim that two are one by their forms, where that is not claimed yet."""
        key = key_of(a.identifier, b.identifier, rule, by_hand=False)
        if key not in self._words:
            self.state(a, b, Stated(1.0, rule, rule))
            self._formed.add(key)

    def _ban(self, a: Identifier, b: Identifier, stated: Stated, status: str) -> None:
        decision = Decision(rule=stated.rule, status=status, credential=stated.credential)
        (_, own_value), (_, their) = self.as_given(a, b)
        ends = [
            (identifier, other, msgspec.structs.replace(decision, value=value))
            for identifier, other, value in ((a, b, their), (b, a, own_value))
            if self._unit.is_known(identifier) or identifier.type != CUSTOMER_ID
        ]
        self._unit.add_decisions(ends, stated.source, apart=True)
        if status == LINKED:
            self._bans.add(frozenset((a, b)))
        else:
            self._bans.discard(frozenset((a, b)))
