"""What a customer has spent, by currency: a stored section of events with a fold of its own.

Run it from the root of the checkout:

    portrait serve --plugin examples/plugins/lifetime_value.py

Purchases come in as events, and the section shows one sum a currency. The state is the sums, not the purchases, so it
stays small however long the history grows. Amounts are whole cents: their sum is the same in any order.

A bare sum could not be joined: a state joined with itself would count everything twice. So each history (one
identifier's facts) has sums of its own, under the identifier's tag. A join lays the histories side by side, and of one
history held twice takes what has seen more.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from portrait import Fact, Op, Record, Text, Timestamp, impersonal, register_profile_section


class Ahead(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A purchase dated ahead of the moment we were told: it counts from then on."""

    at: int
    currency: str
    cents: int


class History(msgspec.Struct, frozen=True, array_like=True):
    """What one history adds up to."""

    seen: int = 0
    spent: dict[str, int] = {}
    ahead: list[Ahead] = []


class Spending(msgspec.Struct, frozen=True, array_like=True):
    """The fold's state."""

    told_at: int = 0
    histories: dict[str, History] = {}


class LifetimeValue:
    """Sums purchases by currency, each history apart."""

    state = Spending
    window: int | None = None

    def empty(self) -> Spending:
        """Return the state before any fact."""
        return Spending()

    def apply(self, state: Spending, fact: Fact) -> Spending:
        """Return the state after one more fact. Without a window all is folded anew after a delete: nothing to undo."""
        if fact.op is Op.DELETE:
            return state
        bought = msgspec.json.decode(fact.body, type=Purchase)
        tag = fact.identifier.tag
        before = state.histories.get(tag, History())
        ahead = [*before.ahead, Ahead(fact.effective_at, bought.currency, bought.cents)]
        after = History(before.seen + 1, before.spent, ahead)
        return _counted(max(state.told_at, fact.recorded_at), state.histories | {tag: after})

    def join(self, a: Spending, b: Spending) -> Spending:
        """Return the state of two identifiers that are one person."""
        histories = {
            tag: max(a.histories.get(tag, History()), b.histories.get(tag, History()), key=lambda one: one.seen)
            for tag in a.histories.keys() | b.histories.keys()
        }
        return _counted(max(a.told_at, b.told_at), histories)

    def render(self, state: Spending, now: int) -> tuple[list[Any], int | None]:
        """Return the sums at a moment, and when the next purchase ahead counts."""
        sums: dict[str, int] = {}
        ahead = []
        for history in _counted(now, state.histories).histories.values():
            ahead += [one.at for one in history.ahead]
            for currency, cents in history.spent.items():
                sums[currency] = sums.get(currency, 0) + cents
        return [{"currency": one, "cents": sums[one]} for one in sorted(sums)], min(ahead, default=None)

    def keys(self, state: Spending) -> int:
        """Return how many purchases lie ahead: the others do not add up in the state."""
        return sum(len(history.ahead) for history in state.histories.values())


def _counted(told_at: int, histories: dict[str, History]) -> Spending:
    """Return the state in which every purchase made by that moment is in its sum."""
    settled = {}
    for tag, history in histories.items():
        spent = dict(history.spent)
        for one in history.ahead:
            if one.at <= told_at:
                spent[one.currency] = spent.get(one.currency, 0) + one.cents
        settled[tag] = History(history.seen, spent, sorted(one for one in history.ahead if one.at > told_at))
    return Spending(told_at, settled)


@register_profile_section(
    "lifetime-value", key=("purchase_id",), kind="events", effective="bought_at", fold=LifetimeValue()
)
class Purchase(Record, frozen=True):
    """What was spent, by currency."""

    purchase_id: Annotated[Text, impersonal, Meta(examples=["pur_001"])]
    currency: Annotated[str, impersonal, Meta(pattern="^[A-Z]{3}$", examples=["EUR"])]
    cents: Annotated[int, impersonal, Meta(ge=0, le=10**12, examples=[1999])]
    bought_at: Annotated[Timestamp, impersonal, Meta(examples=["2026-03-28T10:30:00Z"])]
