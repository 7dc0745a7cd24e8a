"""Events of the clients of Segment, RudderStack, Hightouch and Jitsu.

They agree on a form and differ in where things stand in it: traits at the root or in the context, one of two
timestamps, numbers or texts as ids. What a client adds beside is ignored.
"""

from typing import Any

from portrait.collecting import lenient, reading
from portrait.collecting.event import ClientEvent, Kind
from portrait.collecting.request import SentRequest
from portrait.model.errors import InvalidRecord

NAME = "segment"
SHORT = {
    "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias",
}  # fmt: skip
"""The types of events as the ends of short paths."""
_RESENT = frozenset({"sentAt", "_metadata", "receivedAt"})
"""What a client changes when it sends an event again."""
_KINDS = frozenset(Kind)
_OF_SOMEBODY = frozenset({Kind.IDENTIFY, Kind.GROUP})
"""What says traits; elsewhere clients repeat what they remember, which may be long out of date."""


def texts(request: SentRequest) -> list[bytes]:
    """Return the texts of a body's events: those of a batch, of a list, or the body itself.

    Raises:
        MalformedJson: it is no JSON.
        InvalidRecord: it holds no events.
    """
    return lenient.listed(request.body, "batch")


def key_in(request: SentRequest) -> str | None:
    """Return the write key that a body holds, of its own or of its first event; None where it holds none.

    A key of which only a part is shown is none.
    """
    for event in reading.first_of(lenient.decode(request.body), "batch"):
        key = reading.name(event.get("writeKey"))
        if key is not None and "***" not in key:
            return key
    return None


def read(text: bytes, kind: str | None) -> ClientEvent:
    """Return the event of a text.

    Args:
        text: its JSON.
        kind: its type, where the path says it; an event's own `type` counts first.

    Raises:
        MalformedJson, InvalidRecord: it cannot be read; the detail says why.
    """
    value = lenient.decode(text)
    if not isinstance(value, dict):
        raise InvalidRecord("An event must be a JSON object.")
    given = value.get("type") or kind
    kind = reading.name(given)
    if kind not in _KINDS:
        raise InvalidRecord(f"Field `type` must be one of: {', '.join(sorted(_KINDS))}.")
    context = reading.members(value.get("context"))
    traits = value.get("traits") if kind in _OF_SOMEBODY else None
    if traits is None and kind == Kind.IDENTIFY:
        traits = context.get("traits")
    name = value.get("event") if kind == Kind.TRACK else value.get("name")
    at = value.get("timestamp")
    return ClientEvent(
        kind=Kind(kind),
        id=reading.text_id(value.get("messageId")) or reading.digest(value, _RESENT),
        user_id=reading.text_id(value.get("userId")),
        anonymous_id=reading.text_id(value.get("anonymousId")),
        at=reading.moment(value.get("originalTimestamp") if at is None else at),
        sent_at=reading.sent_at(value.get("sentAt")),
        name=reading.name(name),
        properties=reading.members(value.get("properties")),
        traits=reading.members(traits),
        group_id=reading.text_id(value.get("groupId")),
        previous_id=reading.text_id(value.get("previousId")),
        consent=_consent(context),
        request={name: context[name] for name in ("ip", "userAgent") if isinstance(context.get(name), str)},
    )


def _consent(context: dict[str, Any]) -> dict[str, bool]:
    preferences = reading.members(reading.members(context.get("consent")).get("categoryPreferences"))
    return {name: allowed for name, allowed in preferences.items() if isinstance(allowed, bool)}
