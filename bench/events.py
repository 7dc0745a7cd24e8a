"""Made events in the form in which Segment's client for Node sends them, and the records that each of them makes."""

import itertools
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.population import customer_id

USERS = 5000
"""So many people at most are told of: the population's first."""
SOURCE = "app"
"""The write key's source; records that say the same name it."""
IDENTIFY = 10
"""One of so many events says traits, all others something that somebody did."""
TRAITS = 3
"""How many it says, each a record of its own."""
_DAY = 24 * 60 * 60 * 1000
_NAMES = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")
_CONTEXT = {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}}
_METADATA = {"nodeVersion": "22.11.0", "jsRuntime": "node"}

Event = dict[str, Any]


class Events:
    """Makes events, each a new one and a millisecond later than the last; the first happened a day ago.

    Args:
        users: so many of the population's first customers are told of.
        seed: the same makes the same events, but for when they happened.
    """

    def __init__(self, users: int, seed: int) -> None:
        self._users = range(users)
        self._chance = random.Random(seed)  # noqa: S311  # for repeating, not for hiding
        self._numbers = itertools.count()
        self._begun = time.time_ns() // 1_000_000 - _DAY

    def some(self, count: int) -> list[Event]:
        """Return events of people in random order; one in ten says traits."""
        return [self._event(index, next(self._numbers)) for index in self._chance.choices(self._users, k=count)]

    def tracked(self, index: int) -> Event:
        """Return an event of something that a customer did."""
        return self._event(index, next(number for number in self._numbers if number % IDENTIFY))

    def _event(self, index: int, number: int) -> Event:
        return event(index, number, self._begun + number, uuid.UUID(int=self._chance.getrandbits(128), version=4))


def event(index: int, number: int, millis: int, message: uuid.UUID) -> Event:
    """Return one event.

    Args:
        index: the customer's.
        number: what it says goes by it.
        millis: when it happened, in milliseconds.
        message: what no other event has.
    """
    says: Event
    if number % IDENTIFY == 0:
        # All are news: what a source said already makes no record.
        says = {
            "type": "identify",
            "traits": {"visits": number, "lastOrderId": f"order-{number:07}", "basket": number / 4},
        }
    else:
        properties = {"sku": f"sku-{number % 89:04}", "price": number % 1000 / 4, "offer_id": f"offer-{number % 97:03}"}
        says = {"type": "track", "event": _NAMES[number % len(_NAMES)], "properties": properties}
    return {
        "timestamp": datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        **says,
        "userId": customer_id(index),
        "context": _CONTEXT,
        "messageId": f"node-next-{millis}-{message}",
        "integrations": {},
        "_metadata": _METADATA,
    }


def batch(events: Sequence[Event]) -> bytes:
    """Return events as the body in which a client sends them."""
    sent_at = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    return msgspec.json.encode({"batch": events, "sentAt": sent_at})


def ndjson(events: Sequence[Event]) -> bytes:
    """Return the records that events make as the body of a bulk."""
    return msgspec.json.Encoder().encode_lines([line for event in events for line in lines(event)])


def lines(event: Event) -> Iterator[dict[str, Any]]:
    """Yield the records that an event makes, as lines of a bulk."""
    named = {"customerId": event["userId"], "source": SOURCE}
    if event["type"] == "identify":
        for name, value in event["traits"].items():
            record = {"name": name, "value": value}
            yield {**named, "section": "attributes", "record": record, "effectiveAt": event["timestamp"]}
        return
    properties = dict(event["properties"])
    record = {
        "id": f"{SOURCE}:{event['messageId']}",
        "interactionType": event["event"],
        "timestamp": event["timestamp"],
        "offerId": properties.pop("offer_id"),
        "channelId": None,
        "properties": properties,
    }
    yield {**named, "section": "interactions", "record": record}
