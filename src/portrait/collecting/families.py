"""Families of clients: how each finds events in a body and reads one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from portrait.collecting import cloudevents, posthog, segment, snowplow
from portrait.collecting.event import ClientEvent
from portrait.collecting.request import SentRequest


class Family(NamedTuple):
    """Clients that write events alike."""

    name: str
    texts: Callable[[SentRequest], list[bytes]]
    """Returns the texts of a request's events."""
    read: Callable[[bytes, str | None], ClientEvent]
    """Returns the event of a text, whose type the path may say."""
    key_in: Callable[[SentRequest], str | None]
    """Returns the key that stands among a request's events."""
    ids: Mapping[str, tuple[str, ...]]
    """By the name of a field the types of identifiers of which its value may be; in refused events they are sought."""
    looked_for: Mapping[str, Any] = {}
    """What its clients look for in the answer, besides what every answer says."""
    has_cookies: bool = False
    """Whether its clients in pages send cookies along, of which nothing is read: browsers ask whether they may."""


_USER, _DEVICE = ("customer_id",), ("anonymous_id",)
_EITHER = _USER + _DEVICE
_TRAITS = {"email": ("email",), "phone": ("phone",)}
SEGMENT = Family(
    segment.NAME, segment.texts, segment.read, segment.key_in,
    {"userId": _USER, "anonymousId": _DEVICE, "previousId": _EITHER, **_TRAITS},
)  # fmt: skip
POSTHOG = Family(
    posthog.NAME, posthog.texts, posthog.read, posthog.key_in,
    {"distinct_id": _EITHER, "$anon_distinct_id": _DEVICE, "$device_id": _DEVICE, "alias": _USER, **_TRAITS},
    posthog.LOOKED_FOR,
)  # fmt: skip
SNOWPLOW = Family(
    snowplow.NAME, snowplow.texts, snowplow.read, snowplow.key_in,
    {"uid": _USER, **dict.fromkeys(snowplow.DEVICES, _DEVICE)}, has_cookies=True,
)  # fmt: skip
CLOUDEVENTS = Family(
    cloudevents.NAME, cloudevents.texts, cloudevents.read, cloudevents.key_in,
    {
        "subject": _USER, "userid": _USER, "anonymousid": _DEVICE,
        "userId": _USER, "anonymousId": _DEVICE, "previousId": _EITHER, **_TRAITS,
    },
)  # fmt: skip
FAMILIES = {family.name: family for family in (SEGMENT, POSTHOG, SNOWPLOW, CLOUDEVENTS)}
"""By the name that is kept with a refused event."""


def form_of(family: Family, kind: str | None) -> str:
    """Return the name of how events are written: the family's, and the type where the path says it."""
    return family.name if kind is None else f"{family.name}/{kind}"


def of_form(form: str) -> tuple[Family, str | None]:
    """Return the family, and the type that the path said, by the name of a form."""
    name, _, kind = form.partition("/")
    return FAMILIES[name], kind or None
