"""Events of PostHog's clients.

**Whose id.** An event has one id, `distinct_id`, of a user or of a device. It is a device's where the event says
`$process_person_profile: false` or `$is_identified: false`, or gives the same id as its `$device_id`; else a user's. Of
`$identify` and `$create_alias` it is a user's in any case, for they say who somebody is: `$anon_distinct_id`, and the
`distinct_id` of an alias, are what the user had before. A group is often described on nobody's behalf, and clients then
make an id up: a UUID, which is taken for a device's unless the event says `$is_identified: true`, or `$company_acme`,
which names nobody.

**What is left out.** Properties that begin with `$` tell of the request, the device or the library. Those of `_RENAMED`
say more, and are kept under a name of their own. Of `$set` and `$set_once` too, what begins with `$` is left out. A
trait that is set once counts like any other, for a record has no way to say "only the first": what is set beside it in
the same event goes before.
"""

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from portrait.collecting import lenient, reading
from portrait.collecting.event import ClientEvent, Kind
from portrait.collecting.request import SentRequest
from portrait.model.errors import InvalidRecord

NAME = "posthog"
LOOKED_FOR = {"status": 1}
"""What PostHog itself answers."""
_KINDS = {
    "$identify": Kind.IDENTIFY, "$set": Kind.IDENTIFY, "$set_once": Kind.IDENTIFY, "$create_alias": Kind.ALIAS,
    "$groupidentify": Kind.GROUP, "$pageview": Kind.PAGE, "$screen": Kind.SCREEN,
}  # fmt: skip
"""The events that have a meaning of their own; any other is something that somebody did."""
_OF_USERS = frozenset({"$identify", "$create_alias"})
"""The events that say who somebody is."""
_RENAMED = {"$current_url": "url", "$referrer": "referrer", "$groups": "groups"}
_OF_REQUEST = frozenset({"token", "distinct_id"})
_RESENT = frozenset({"sent_at", "api_key", "token"})
"""What a client changes when it sends an event again, or may leave out."""
_FORM = b"data="
"""Begins what a page sends as it closes: JSON in base64, in a form."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def texts(request: SentRequest) -> list[bytes]:
    """Return the texts of a body's events: those of a batch, of a list, or the body itself.

    Raises:
        MalformedJson: it is no JSON.
        InvalidRecord: it holds no events.
    """
    return lenient.listed(_unformed(request.body), "batch")


def key_in(request: SentRequest) -> str | None:
    """Return the key that a body holds, of its own or of its first event; None where it holds none."""
    for event in reading.first_of(lenient.decode(_unformed(request.body)), "batch"):
        keys = (event.get("api_key"), event.get("token"), reading.members(event.get("properties")).get("token"))
        if (key := next((key for key in map(reading.name, keys) if key is not None), None)) is not None:
            return key
    return None


def _unformed(body: bytes) -> bytes:
    """Return the JSON of a body that may be a form."""
    if not body.startswith(_FORM):
        return body
    try:
        return base64.b64decode(unquote_to_bytes(body.removeprefix(_FORM).partition(b"&")[0]), validate=True)
    except binascii.Error:
        raise InvalidRecord("Field `data` of a form must be JSON in base64.") from None


def read(text: bytes, kind: str | None) -> ClientEvent:
    """Return the event of a text; its path says nothing of its kind.

    Raises:
        MalformedJson, InvalidRecord: it cannot be read; the detail says why.
    """
    del kind
    value = lenient.decode(text)
    if not isinstance(value, dict):
        raise InvalidRecord("An event must be a JSON object.")
    event = reading.name(value.get("event"))
    properties = reading.members(value.get("properties"))
    kind = Kind.TRACK if event is None else _KINDS.get(event, Kind.TRACK)
    user_id, anonymous_id = _who(event, value, properties)
    previous_id = None
    if kind is Kind.ALIAS:
        previous_id, user_id = user_id, reading.text_id(properties.get("alias"))
    if user_id is None and anonymous_id is None:
        raise InvalidRecord("An event needs a `distinct_id` of somebody, and `$create_alias` an `alias`.")
    return ClientEvent(
        kind=kind,
        id=reading.text_id(value.get("uuid")) or reading.digest(value, _RESENT),
        user_id=user_id,
        anonymous_id=anonymous_id,
        at=reading.moment(value.get("timestamp")),
        sent_at=reading.sent_at(value.get("sent_at")),
        name=event if kind is Kind.TRACK else reading.name(properties.get("$screen_name")),
        properties=_properties(properties),
        traits=_group(properties) if kind is Kind.GROUP else _traits(value, properties),
        group_id=reading.text_id(properties.get("$group_key")),
        previous_id=previous_id,
    )


def _who(event: str | None, value: dict[str, Any], properties: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the id of the user and that of the device that an event is about; see above."""
    id_ = reading.text_id(value.get("distinct_id")) or reading.text_id(properties.get("distinct_id"))
    if id_ is None:
        return None, None
    if event in _OF_USERS:
        before = reading.text_id(properties.get("$anon_distinct_id"))
        return id_, None if before == id_ else before
    if event == "$groupidentify":
        if id_.startswith("$"):
            return None, None
        if _UUID.fullmatch(id_) and properties.get("$is_identified") is not True:
            return None, id_
    if (
        properties.get("$process_person_profile") is False
        or properties.get("$is_identified") is False
        or id_ == reading.text_id(properties.get("$device_id"))
    ):
        return None, id_
    return id_, None


def _properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Return what properties say of what was done."""
    kept = {name: value for name, value in _own(properties).items() if name not in _OF_REQUEST}
    for name, renamed in _RENAMED.items():
        value = properties.get(name)
        if value is not None and not (isinstance(value, str) and value.startswith("$")):  # `$direct`: there is none
            kept.setdefault(renamed, value)
    return kept


def _traits(value: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """Return what an event sets of its person, in its properties or beside them."""
    traits: dict[str, Any] = {}
    for name in ("$set_once", "$set"):
        for holder in (properties, value):
            traits |= _own(reading.members(holder.get(name)))
    return traits


def _group(properties: dict[str, Any]) -> dict[str, Any]:
    """Return what an event sets of a group, and of what type it is."""
    traits = _own(reading.members(properties.get("$group_set")))
    if (type_ := reading.text_id(properties.get("$group_type"))) is not None:
        traits.setdefault("groupType", type_)
    return traits


def _own(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("$")}
