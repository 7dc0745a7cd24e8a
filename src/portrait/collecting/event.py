"""The one form in which events of every family of clients become records."""

from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """What an event says."""

    IDENTIFY = "identify"
    """Who somebody is."""
    TRACK = "track"
    """What somebody did."""
    PAGE = "page"
    SCREEN = "screen"
    ALIAS = "alias"
    """That two ids are one person's."""
    GROUP = "group"
    """What somebody belongs to."""


class ClientEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event, as far as it is read."""

    kind: Kind
    id: str
    """Names it within its source: the same again is the same event."""
    user_id: str | None = None
    """The company's own id of a person."""
    anonymous_id: str | None = None
    """The id that a client made up for a device or a browser."""
    at: int | None = None
    """When it happened, by the client's clock, in microseconds; None: it does not say."""
    sent_at: int | None = None
    """When it was sent, by the same clock."""
    name: str | None = None
    properties: dict[str, Any] = {}
    """Of what happened."""
    traits: dict[str, Any] = {}
    """Of the person, where the event says any; of a group event, those of the group."""
    group_id: str | None = None
    previous_id: str | None = None
    """Of an alias: the other id."""
    consent: dict[str, bool] = {}
    """By category, whether it is allowed."""
    request: dict[str, Any] = {}
    """What the client says of itself: its address and its user agent, as `ip` and `userAgent`."""
    cloud_type: str | None = None
    """Of a CloudEvent its type."""
    data: Any = None
    """Of a CloudEvent its data."""

    @property
    def subject(self) -> tuple[str, str] | None:
        """The type and the value of the identifier that it is about; None: it names nobody."""
        if self.user_id is not None:
            return "customer_id", self.user_id
        return None if self.anonymous_id is None else ("anonymous_id", self.anonymous_id)
