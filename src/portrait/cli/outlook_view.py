"""What an upgrade changes, in words: customers by their ids, of identifiers the types alone."""

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice

from portrait.cli.printing import say
from portrait.maintenance.report import CustomerChange, Difference, Outlook, When
from portrait.model.identifier import is_generated

OCCASIONS = {
    When.READ: "from the first read on",
    When.REBUILD: "after portrait db rebuild",
    When.DECISION: "once an identity record or an action concerns them",
}


def say_outlook(outlook: Outlook, differences: Collection[Difference], examples: int) -> None:
    """Print an outlook.

    Args:
        outlook: the outlook.
        differences: what a check finds.
        examples: how many customers are named at most, of each tenant and occasion.
    """
    if outlook.pending:
        say(f"The schema is {outlook.revision}; an upgrade runs:")
        for revision in outlook.pending:
            say(f"{revision.name}: {revision.purpose}")
    else:
        say(f"The schema is this version's, {outlook.revision}.")
    for tenant, by_when in outlook.changes.items():
        for when, changes in by_when.items():
            if changes:
                counted = ", ".join(f"{what} {count:,}" for what, count in _counted(changes.values()))
                say(f"{tenant}: otherwise {OCCASIONS[when]}: {len(changes):,} customers ({counted})")
            for customer_id, change in islice(sorted(changes.items(), key=_by_name), examples):
                say(f"{tenant}: {customer_id}: {_words(customer_id, change)}")
    rows = Counter((row.tenant, row.kind, row.section or "-", row.reason) for row in differences)
    for (tenant, kind, section, reason), count in sorted(rows.items()):
        say(f"{tenant}: {kind} {section}: {reason}: {count:,}, which a check finds and a rebuild puts right")


def _by_name(item: tuple[str, CustomerChange]) -> tuple[bool, str]:
    """Sort a company's own customer ids before those that are made at random."""
    return is_generated(item[0]), item[0]


def _counted(changes: Collection[CustomerChange]) -> Iterator[tuple[str, int]]:
    """Yield what is otherwise of how many customers, the most frequent first."""
    counts = Counter(section for change in changes for section in change.sections)
    counts["identifiers"] = sum(bool(change.gained or change.lost) for change in changes)
    counts["the customer id that answers"] = sum(change.is_regrouped for change in changes)
    yield from (item for item in counts.most_common() if item[1])


def _words(customer_id: str, change: CustomerChange) -> str:
    if change.is_regrouped:
        if change.owner is None:
            return "is no customer any more"
        return "is a customer of its own" if change.owner == customer_id else f"is answered by {change.owner}"
    parts = [f"gains {', '.join(change.gained)}"] if change.gained else []
    parts += [f"loses {', '.join(change.lost)}"] if change.lost else []
    parts += [f"shows other {', '.join(change.sections)}"] if change.sections else []
    return "; ".join(parts)
