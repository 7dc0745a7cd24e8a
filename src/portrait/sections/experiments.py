"""Experiments: the variants that a customer was assigned."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from portrait.sections.declaration import register_profile_section
from portrait.sections.fold import Held, per_key
from portrait.sections.record import Record, Text, Timestamp, none


def first_exposure(held: Sequence[Held]) -> Held:
    """Two histories joined: the assignment that came first."""
    return min(held, key=lambda one: (_assignment(one).assigned_at, one.entry))


def _assignment(held: Held) -> "Assignment":
    assert isinstance(held.record, Assignment)
    return held.record


@register_profile_section("experiments", key=("experiment_id",), order="assigned_at", combine=per_key(first_exposure))
class Assignment(Record, frozen=True):
    """Experiment variant assignments."""

    experiment_id: Annotated[Text, none, Meta(examples=["exp_001"])]
    experiment_name: Annotated[Text, none, Meta(examples=["Checkout colour"])]
    variant: Annotated[Text, none, Meta(examples=["treatment"])]
    assigned_at: Annotated[Timestamp, none, Meta(examples=["2026-02-10T12:00:00Z"])]
