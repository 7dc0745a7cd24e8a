"""Events of Snowplow's clients.

An event is an object of texts, or a query; the fields have short names. The protocol has no key: where a request has
none outside its body, the application id, `aid`, is taken for the write key.

| `e` | is | named by |
|---|---|---|
| `pv` | a page | `page`, its title |
| `ue` | a screen, where its schema is named `screen_view` | `name` of its data |
| `ue` | what somebody did | the name of its schema |
| `se` | what somebody did | `se_ac`, its action |
| `pp`, `tr`, `ti` | what somebody did | `page_ping`, `transaction`, `transaction_item` |

Properties are the data of a self-describing event, and of others the fields of `_FIELDS`. Left out are contexts (`co`,
`cx`), whose schemas may hold anything, and what tells of the device, the request and the library.
"""

import base64
import math
import re
from typing import Any, NamedTuple

import msgspec

from portrait.collecting import lenient, reading
from portrait.collecting.event import ClientEvent, Kind
from portrait.collecting.request import SentRequest
from portrait.model.errors import InvalidRecord

NAME = "snowplow"
_NAMES = {"pp": "page_ping", "tr": "transaction", "ti": "transaction_item"}
_FIELDS = {
    "pv": {"url": "url", "refr": "referrer"},
    "pp": {"url": "url", "page": "title"},
    "se": {"se_ca": "category", "se_la": "label", "se_pr": "property", "se_va": "value"},
    "tr": {
        "tr_id": "orderId", "tr_tt": "total", "tr_af": "affiliation", "tr_tx": "tax", "tr_sh": "shipping",
        "tr_ci": "city", "tr_st": "state", "tr_co": "country", "tr_cu": "currency",
    },
    "ti": {
        "ti_id": "orderId", "ti_sk": "sku", "ti_nm": "name", "ti_ca": "category", "ti_pr": "price", "ti_qu": "quantity",
        "ti_cu": "currency",
    },
}  # fmt: skip
"""By type of event, what its fields are called as properties."""
_NUMBERS = frozenset({"value", "total", "tax", "shipping", "price", "quantity"})
"""The properties that are numbers, sent as texts."""
DEVICES = ("duid", "tnuid", "nuid")
"""The fields that hold a device's id: the first that is there counts."""
_SCREEN = "screen_view"
_SCHEMA = re.compile(r"iglu:[^/]+/([^/]+)/[^/]+/[^/]+")
_RESENT = frozenset({"stm"})
"""What a client changes when it sends an event again."""


class _What(NamedTuple):
    """What an event says that somebody did."""

    kind: Kind
    name: str | None
    properties: dict[str, Any]


def texts(request: SentRequest) -> list[bytes]:
    """Return the texts of a request's events: the query where it is one, else those that its body lists.

    Raises:
        MalformedJson: the body is no JSON.
        InvalidRecord: it holds no events.
    """
    query = request.query
    if "e" in query:
        return [msgspec.json.encode({name: value for name, value in query.items() if name != "writeKey"})]
    return lenient.listed(request.body, "data")


def key_in(request: SentRequest) -> str | None:
    """Return the application id of a request's first event; None where it says none."""
    query = request.query
    if "e" in query:
        return query.get("aid")
    keys = [reading.name(event.get("aid")) for event in reading.first_of(lenient.decode(request.body), "data")]
    return next((key for key in keys if key), None)


def read(text: bytes, kind: str | None) -> ClientEvent:
    """Return the event of a text; its path says nothing of its kind.

    Raises:
        MalformedJson, InvalidRecord: it cannot be read; the detail says why.
    """
    del kind
    value = lenient.decode(text)
    if not isinstance(value, dict):
        raise InvalidRecord("An event must be a JSON object.")
    user_id = reading.text_id(value.get("uid"))
    device_ids = [id_ for id_ in (reading.text_id(value.get(name)) for name in DEVICES) if id_ is not None]
    if user_id is None and not device_ids:
        raise InvalidRecord("An event needs a `uid`, or one of `duid`, `tnuid` and `nuid`.")
    what = _what(value)
    return ClientEvent(
        kind=what.kind,
        id=reading.text_id(value.get("eid")) or reading.digest(value, _RESENT),
        user_id=user_id,
        anonymous_id=device_ids[0] if device_ids else None,
        at=reading.moment(value.get("ttm") or value.get("dtm")),
        sent_at=reading.sent_at(value.get("stm")),
        name=what.name,
        properties=what.properties,
    )


def _what(value: dict[str, Any]) -> _What:
    """Return what an event says that somebody did.

    Raises:
        MalformedJson, InvalidRecord: it does not say it as its type does.
    """
    type_ = value.get("e")
    if type_ == "ue":
        return _described(value)
    if not isinstance(type_, str) or type_ not in _FIELDS:
        raise InvalidRecord(f"Field `e` must be one of: {', '.join(sorted([*_FIELDS, 'ue']))}.")
    properties = {
        name: _number(value[field]) if name in _NUMBERS else value[field]
        for field, name in _FIELDS[type_].items()
        if value.get(field) not in (None, "")
    }
    if type_ == "pv":
        return _What(Kind.PAGE, reading.name(value.get("page")), properties)
    name = reading.name(value.get("se_ac")) if type_ == "se" else _NAMES[type_]
    if name is None:
        raise InvalidRecord("A structured event needs an `se_ac`, its action.")
    return _What(Kind.TRACK, name, properties)


def _described(value: dict[str, Any]) -> _What:
    """Return what a self-describing event says: its schema names it."""
    inner = reading.members(reading.members(lenient.decode(_description(value))).get("data"))
    schema = inner.get("schema")
    named = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if named is None:
        raise InvalidRecord("A self-describing event needs a `schema` such as iglu:org.example/name/jsonschema/1-0-0.")
    data = reading.members(inner.get("data"))
    if named[1] == _SCREEN:
        return _What(Kind.SCREEN, reading.name(data.get("name")), data)
    return _What(Kind.TRACK, named[1], data)


def _description(value: dict[str, Any]) -> bytes:
    """Return the JSON that a self-describing event holds as a text, or as a text in base64."""
    encoded, plain = value.get("ue_px"), value.get("ue_pr")
    if isinstance(plain, str) and plain:
        return plain.encode()
    if isinstance(encoded, str) and encoded:
        try:
            return base64.urlsafe_b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4))
        except ValueError:
            raise InvalidRecord("Field `ue_px` must be JSON in base64.") from None
    raise InvalidRecord("A self-describing event needs a `ue_pr` or a `ue_px`.")


def _number(value: Any) -> Any:
    """Return the number that a text writes; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        return value
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
