"""Experiments: the variants that a customer was assigned."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from portrait.sections.base import StoredSection
from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, Latest, LatestState, per_key
from portrait.sections.record import Record, Text, Timestamp, impersonal


def first_exposure(records: Sequence[Held]) -> Held:
    """Two histories joined: the assignment that came first."""
    return min(records, key=lambda live: (_assignment(live).assigned_at, live.entry))


def _assignment(live: Held) -> "Assignment":
    assert isinstance(live.record, Assignment)
    return live.record


@register_profile_section(
    "experiments",
    key=("experiment_id",),
    order="assigned_at",
    first="assigned_at",
    combine=per_key(first_exposure),
    version=2,
)
class Assignment(Record, frozen=True):
    """Experiment variant assignments."""

    experiment_id: Annotated[Text, impersonal, Meta(examples=["exp_001"])]
    experiment_name: Annotated[Text, impersonal, Meta(examples=["Checkout colour"])]
    variant: Annotated[Text, impersonal, Meta(examples=["treatment"])]
    assigned_at: Annotated[Timestamp, impersonal, Meta(examples=["2026-02-10T12:00:00Z"])]


def crossovers(section: StoredSection, state: LatestState, now: int) -> tuple[str, ...]:
    """Return the experiments of which histories that are one person's now had different variants.

    Only the first exposure is shown; but that the customer saw another variant too matters to the experiment.

    Args:
        section: this section, or one that stands for it.
        state: the joined state of a customer's identifiers.
        now: the present moment.
    """
    if not isinstance(section.fold, Latest):
        return ()
    variants: dict[str, set[str]] = {}
    for live in section.fold.each(state, now):
        variants.setdefault(_assignment(live).experiment_id, set()).add(_assignment(live).variant)
    return tuple(sorted(experiment for experiment, seen in variants.items() if len(seen) > 1))
