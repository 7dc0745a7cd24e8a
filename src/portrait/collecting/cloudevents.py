"""CloudEvents 1.0 over HTTP, in all three modes.

**Modes.** The content type decides: `application/cloudevents-batch+json` is a list, `application/cloudevents+json` one
event; of any other body the `ce-` headers are the attributes and the body is the data. A gateway may add headers of its
own to an event in a body: they change nothing.

**Attributes.** `specversion` must be 1.0; `source`, `id` and `type` must be there, for nobody but the producer can make
up an id that is the same when the event comes again. An event is named by its source and its id together. Without a
`time` it happened when it is received.

**Whom it is about.** A user: the extension attribute `userid`, else `userId` in the data, else `subject`. A device: the
extension attribute `anonymousid`, else `anonymousId` in the data.

**What it says.** Something that somebody did, named by its `type`, with the data as properties; data that is no object
becomes the property `data`. If the last part of the type is in `MAPPING` (`org.example.identify`, say), it says what
the mapping says, and its data has the fields of Segment's events: `traits` or `properties` in an object, or all of them
side by side; `groupId`, `previousId`, and the name of what was done as `event`, of a page or a screen as `name`. Bytes
that are neither JSON nor text are left out, as are other attributes. A tenant's rules may map a type to a section: then
the data is a record of that section.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from portrait.collecting import lenient, reading
from portrait.collecting.event import ClientEvent, Kind
from portrait.collecting.request import SentRequest
from portrait.model.errors import InvalidRecord, MalformedJson

NAME = "cloudevents"
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
VERSION = "1.0"
MAPPING: Mapping[str, Kind] = {kind.value: kind for kind in Kind}
"""By the last part of an event's type, what the event says; any other type is something that somebody did."""
_OF_SOMEBODY = frozenset({Kind.IDENTIFY, Kind.GROUP})
"""What says traits."""
_IDS = frozenset({"userId", "anonymousId"})
_TAKEN = _IDS | {"groupId", "previousId", "event"}
"""The fields of a mapped event that are no properties and no traits."""
_LONGEST = 128
"""The longest name of an event, in bytes, that records show as it is."""
_PREFIX = "ce-"
_NO_ATTRIBUTES = frozenset({"data", "data_base64"})
_JSON = re.compile(r"[^/]+/([^/]+\+)?json")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def texts(request: SentRequest) -> list[bytes]:
    """Return the texts of a request's events, each in the form that an event has in JSON.

    Raises:
        MalformedJson: the body is to be JSON by its type, and is not.
        InvalidRecord: the request holds no events.
    """
    if request.media_type == BATCHED:
        batch = lenient.elements(request.body)
        if batch is None:
            raise InvalidRecord("A batch must be a list of events.")
        return batch
    if request.media_type == STRUCTURED:
        if lenient.members(request.body) is None:
            raise InvalidRecord("The body must be an event.")
        return [request.body]
    attributes = _attributes(request.headers)
    if not attributes:
        raise InvalidRecord(f"Send events as {STRUCTURED} or {BATCHED}, or with attributes in headers such as `ce-id`.")
    return [msgspec.json.encode({**attributes, **_held(request)})]


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that headers hold: percent-encoded, in quotes or not."""
    attributes = {}
    for header, value in headers.items():
        name = header.removeprefix(_PREFIX)
        if name != header and name not in _NO_ATTRIBUTES:
            quoted = _QUOTED.fullmatch(value)
            attributes[name] = unquote(re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value)
    return attributes


def _held(request: SentRequest) -> dict[str, Any]:
    """Return the data that a body is, and of what type."""
    held: dict[str, Any] = {}
    if request.media_type:
        held["datacontenttype"] = request.media_type
    if request.body and _is_json(request.media_type):
        try:
            return {**held, "data": lenient.decode(request.body)}
        except MalformedJson:
            pass  # kept as it is; to read it fails, and costs this event only
    if request.body:
        held["data_base64"] = base64.b64encode(request.body).decode()
    return held


def key_in(request: SentRequest) -> str | None:
    """Return None: no event holds a key."""
    del request
    return None


def read(text: bytes, kind: str | None) -> ClientEvent:
    """Return the event of a text; its path says nothing of its kind.

    Raises:
        MalformedJson, InvalidRecord: it cannot be read; the detail says why.
    """
    del kind
    value = lenient.decode(text)
    if not isinstance(value, dict):
        raise InvalidRecord("An event must be a JSON object.")
    if value.get("specversion") != VERSION:
        raise InvalidRecord(f"Attribute `specversion` must be {VERSION}.")
    source, id_, type_ = (_needed(value, name) for name in ("source", "id", "type"))
    data = _data(value)
    fields = reading.members(data)
    user_id = _first(value.get("userid"), fields.get("userId"), value.get("subject"))
    anonymous_id = _first(value.get("anonymousid"), fields.get("anonymousId"))
    if user_id is None and anonymous_id is None:
        raise InvalidRecord("An event needs a `subject`, a `userid` or an `anonymousid`.")
    event = ClientEvent(
        kind=Kind.TRACK,
        id=_named(source, id_),
        user_id=user_id,
        anonymous_id=anonymous_id,
        at=reading.moment(value.get("time")),
        name=type_,
        cloud_type=type_,
        data=data,
        properties=_without(_IDS, fields) if data is None or isinstance(data, dict) else {"data": data},
    )
    mapped = MAPPING.get(type_.rpartition(".")[2])
    return event if mapped is None else _mapped(event, mapped, fields)


def _mapped(event: ClientEvent, kind: Kind, fields: dict[str, Any]) -> ClientEvent:
    """Return an event whose data has the fields of Segment's events."""
    name = reading.name(fields.get("event")) or event.name if kind is Kind.TRACK else reading.name(fields.get("name"))
    return msgspec.structs.replace(
        event,
        kind=kind,
        name=name,
        properties=_part(fields, "properties"),
        traits=_part(fields, "traits") if kind in _OF_SOMEBODY else {},
        group_id=reading.text_id(fields.get("groupId")),
        previous_id=reading.text_id(fields.get("previousId")),
    )


def _part(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object of this name, or all fields where there is none."""
    part = fields.get(name)
    return part if isinstance(part, dict) else _without(_TAKEN, fields)


def _without(names: frozenset[str], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _data(value: dict[str, Any]) -> Any:
    """Return an event's data; None where there is none, or bytes that are neither JSON nor text.

    Raises:
        MalformedJson: bytes that are to be JSON are not.
        InvalidRecord: the bytes are not in base64.
    """
    encoded, type_ = value.get("data_base64"), value.get("datacontenttype")
    if value.get("data") is not None or encoded is None:
        return value.get("data")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError):
        raise InvalidRecord("Member `data_base64` must be base64.") from None
    type_ = type_.partition(";")[0].strip().lower() if isinstance(type_, str) else ""
    if not _is_json(type_):
        return raw.decode(errors="replace") if type_.startswith("text/") else None
    try:
        return lenient.decode(raw)
    except MalformedJson:
        if type_:
            raise
        return None


def _is_json(media_type: str) -> bool:
    """Tell whether data is JSON by its type; without a type it may be."""
    return not media_type or _JSON.fullmatch(media_type) is not None


def _needed(value: dict[str, Any], name: str) -> str:
    attribute = reading.name(value.get(name))
    if attribute is None:
        raise InvalidRecord(f"Attribute `{name}` must be a text, and not empty.")
    return attribute


def _first(*given: Any) -> str | None:
    """Return the first id that is one."""
    return next((id_ for id_ in map(reading.text_id, given) if id_ is not None), None)


def _named(source: str, id_: str) -> str:
    """Return the name of an event; no two pairs of a source and an id have the same."""
    named = f"{source} {id_}"
    if " " in source or len(named.encode()) > _LONGEST:
        return reading.digest({"source": source, "id": id_}, frozenset())
    return named
