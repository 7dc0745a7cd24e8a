"""What the service answers, as Pydantic models."""

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Answer(BaseModel):
    """Names in camel case, values from the rows' attributes."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, from_attributes=True
    )


class Identity(Answer):
    """An identifier of a customer."""

    type: str
    value: str
    confidence: float


class Interaction(Answer):
    """Something that happened."""

    id: str
    offer_id: str | None
    channel_id: str | None
    interaction_type: str
    timestamp: datetime
    value: float | None


class Segment(Answer):
    """A membership."""

    segment_id: str
    segment_name: str
    member_since: datetime


class Journey(Answer):
    """A way through a campaign."""

    journey_id: str
    journey_name: str
    status: str
    current_step: str | None
    enrolled_at: datetime
    completed_at: datetime | None


class Experiment(Answer):
    """A variant that a customer is shown."""

    experiment_id: str
    experiment_name: str
    variant: str
    assigned_at: datetime


class Consent(Answer):
    """What a customer agreed to."""

    kind: Literal["consent"]
    purpose: str
    channel: str
    status: str
    granted_at: datetime | None
    revoked_at: datetime | None
    source: str | None


Name = TypeVar("Name")
Record = TypeVar("Record", bound=Answer)


class Section(Answer, Generic[Name, Record]):
    """One section and its records."""

    name: Name
    data: list[Record]


class Profile(Answer):
    """Everything known about one customer."""

    customer_id: str
    tenant_id: str
    sections: tuple[
        Section[Literal["identities"], Identity],
        Section[Literal["interactions"], Interaction],
        Section[Literal["segments"], Segment],
        Section[Literal["journeys"], Journey],
        Section[Literal["experiments"], Experiment],
        Section[Literal["consent"], Consent],
    ]
    computed_at: datetime
