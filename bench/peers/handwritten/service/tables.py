"""The tables, mapped."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What every table has: whose it is."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy's own spelling

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(primary_key=True)


class Identity(Base):
    """An identifier of a customer."""

    __tablename__ = "identities"
    type: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    confidence: Mapped[float]


class Interaction(Base):
    """Something that happened."""

    __tablename__ = "interactions"
    id: Mapped[str] = mapped_column(primary_key=True)
    offer_id: Mapped[str | None]
    channel_id: Mapped[str | None]
    interaction_type: Mapped[str]
    timestamp: Mapped[datetime]
    value: Mapped[float | None]


class Segment(Base):
    """A membership."""

    __tablename__ = "segments"
    segment_id: Mapped[str] = mapped_column(primary_key=True)
    segment_name: Mapped[str]
    member_since: Mapped[datetime]


class Journey(Base):
    """A way through a campaign."""

    __tablename__ = "journeys"
    journey_id: Mapped[str] = mapped_column(primary_key=True)
    journey_name: Mapped[str]
    status: Mapped[str]
    current_step: Mapped[str | None]
    enrolled_at: Mapped[datetime] = mapped_column(primary_key=True)
    completed_at: Mapped[datetime | None]


class Experiment(Base):
    """A variant that a customer is shown."""

    __tablename__ = "experiments"
    experiment_id: Mapped[str] = mapped_column(primary_key=True)
    experiment_name: Mapped[str]
    variant: Mapped[str]
    assigned_at: Mapped[datetime]


class Consent(Base):
    """What a customer agreed to."""

    __tablename__ = "consents"
    kind: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    granted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    source: Mapped[str | None]


class Trait(Base):
    """What clients said of a customer last, by its name."""

    __tablename__ = "traits"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB)
    updated_at: Mapped[datetime]


class Collected(DeclarativeBase):
    """What tables of events have, whose keys are the clients' own."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy's own spelling


class CollectedEvent(Collected):
    """Something that a client sent."""

    __tablename__ = "events"
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str]
    name: Mapped[str]
    timestamp: Mapped[datetime]
    properties: Mapped[Any] = mapped_column(JSONB)
