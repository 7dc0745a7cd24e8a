"""The made customers that every measured service holds: the same records for each of them, byte for byte."""

import json
from collections.abc import Iterator
from typing import Any

TENANT = "bench"
CUSTOMERS = 20_000
"""So many customers, each with 3 identifiers, 30 interactions, 3 segments, 2 journeys, 2 experiments, 4 consents."""
SECTIONS = ("identities", "interactions", "segments", "journeys", "experiments", "consent")
WIDE = 640
"""How many bytes of note make a customer's 20 newest interactions so large that all documents are so four times."""

Records = dict[str, list[dict[str, Any]]]


def customer_id(index: int) -> str:
    """Return the id of the customer with an index, from 0."""
    return f"C{index:07}"


def interaction(index: int, number: int) -> dict[str, Any]:
    """Return one of a customer's interactions; a higher number happened later."""
    return {
        "id": f"{customer_id(index)}-{number:05}",
        "offerId": f"offer-{(index + number) % 97:03}",
        "channelId": ("web", "app", "mail")[number % 3],
        "interactionType": ("impression", "click", "purchase")[(index + number) % 3],
        "timestamp": f"2026-{1 + number // 28 % 9:02}-{1 + number % 28:02}T{index % 24:02}:{number % 60:02}:00Z",
        "value": number * 1.5,
    }


def appended(index: int, number: int) -> dict[str, Any]:
    """Return an interaction that happened after all of a customer's others; a higher number happened later."""
    minutes, second = divmod(number, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    moment = f"2026-10-{1 + day % 31:02}T{hour:02}:{minute:02}:{second:02}Z"
    return {**interaction(index, number), "id": f"{customer_id(index)}-a{number:07}", "timestamp": moment}


def records(index: int, interactions: int = 30) -> Records:
    """Return one customer's records, by section."""
    return {
        "identities": [
            {"type": "email", "value": f"customer{index}@example.com", "confidence": 1.0},
            {"type": "phone", "value": f"+4420{index:08}", "confidence": 0.9},
            {"type": "device_id", "value": f"device-{index:08x}", "confidence": 0.8},
        ],
        "interactions": [interaction(index, number) for number in range(interactions)],
        "segments": [
            {
                "segmentId": f"seg_{(index + number) % 40:03}",
                "segmentName": f"Segment {(index + number) % 40}",
                "memberSince": "2026-01-15T00:00:00Z",
            }
            for number in range(3)
        ],
        "journeys": [
            {
                "journeyId": f"jrn_{(index + number) % 10:03}",
                "journeyName": f"Journey {(index + number) % 10}",
                "status": "active",
                "currentStep": "welcome-mail",
                "enrolledAt": "2026-02-01T09:00:00Z",
                "completedAt": None,
            }
            for number in range(2)
        ],
        "experiments": [
            {
                "experimentId": f"exp_{(index + number) % 8:03}",
                "experimentName": f"Experiment {(index + number) % 8}",
                "variant": ("control", "treatment")[index % 2],
                "assignedAt": "2026-02-10T12:00:00Z",
            }
            for number in range(2)
        ],
        "consent": [
            {
                "kind": "consent",
                "purpose": purpose,
                "channel": "email",
                "status": "granted",
                "grantedAt": "2026-01-20T08:00:00Z",
                "revokedAt": None,
                "source": "api",
            }
            for purpose in ("marketing", "analytics", "personalisation", "research")
        ],
    }


def line(index: int, section: str, record: dict[str, Any]) -> bytes:
    """Return one record as a line of a bulk."""
    row = {"customerId": customer_id(index), "section": section, "record": record}
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def lines(customers: int) -> Iterator[bytes]:
    """Yield every record of so many customers as a line of a bulk, customer after customer."""
    for index in range(customers):
        for section, section_records in records(index).items():
            for record in section_records:
                yield line(index, section, record)


def few_lines(customers: int, records: int) -> Iterator[bytes]:
    """Yield so many records, one `interactions` record a line, spread over so many customers."""
    for position in range(records):
        index, number = position % customers, position // customers
        yield line(index, "interactions", interaction(index, number))


def large_lines(customers: int) -> Iterator[bytes]:
    """Yield five records of each of so many customers: a segment, a consent and three interactions."""
    for index in range(customers):
        customer_records = records(index, interactions=3)
        yield line(index, "segments", customer_records["segments"][0])
        yield line(index, "consent", customer_records["consent"][0])
        for record in customer_records["interactions"]:
            yield line(index, "interactions", record)


def device(number: int) -> dict[str, str]:
    """Return one of the device ids of `known_lines`."""
    return {"type": "device_id", "value": f"device-{number:08x}"}


def owner(identifiers: int, devices: int, number: int) -> int:
    """Return the index of the customer that a device of `known_lines` belongs to: they are spread over all."""
    return number * ((identifiers - devices) // devices)


def known_lines(identifiers: int, devices: int) -> Iterator[bytes]:
    """Yield what makes so many identifiers known: customers with one interaction each, and devices of some of these."""
    for index in range(identifiers - devices):
        yield line(index, "interactions", interaction(index, 0))
    for number in range(devices):
        yield line(owner(identifiers, devices, number), "identities", device(number))


def long_lines(index: int, interactions: int) -> Iterator[bytes]:
    """Yield the records of one customer with a long history of interactions, and else as all others."""
    for section, section_records in records(index, interactions).items():
        for record in section_records:
            yield line(index, section, record)


def wide_lines(index: int) -> Iterator[bytes]:
    """Yield the records of one customer whose documents are four times as large as others', by their interactions."""
    for section, section_records in records(index).items():
        for record in section_records:
            yield line(index, section, record | {"note": "n" * WIDE} if section == "interactions" else record)


def heavy_lines(index: int, size: int) -> Iterator[bytes]:
    """Yield the records of one customer whose sections other than segments and consent hold so many bytes of JSON."""
    for section, section_records in records(index, interactions=20).items():
        for record in section_records:
            wide = record | {"note": "n" * (size // 20)} if section == "interactions" else record
            yield line(index, section, wide)
