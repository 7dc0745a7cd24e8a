"""What an event says, as records of sections.

| event | records |
|---|---|
| identify | each trait an attribute; a trait that is an e-mail address or a phone number a link besides |
| track, page, screen | an interaction; traits that it says of the person as those of identify |
| group | the attribute `group` |
| alias | a link |
| any, with a user id and an anonymous id | a link between the two |
| identify, and any that reports a change of consent | consent |
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from portrait.collecting.event import ClientEvent, Kind
from portrait.collecting.reading import digest
from portrait.collecting.rules import CollectingRules
from portrait.model import time
from portrait.model.errors import InvalidRecord
from portrait.model.identifier import name_fault
from portrait.model.source import is_public
from portrait.model.time import DAY

CONSENT_UPDATED = "Segment Consent Preference Updated"
"""The name of the event that reports a change of consent."""
PERSON = {
    "firstName": "given_name", "first_name": "given_name", "lastName": "family_name", "last_name": "family_name",
    "birthday": "birth_date", "dateOfBirth": "birth_date", "title": "job_title", "company": "organization",
}  # fmt: skip
"""What clients call a person's own traits, and what the attribute is called."""
ADDRESS = {
    "street": "address_street", "postalCode": "address_postal_code", "postal_code": "address_postal_code",
    "city": "address_locality", "state": "address_region", "country": "address_country",
}  # fmt: skip
"""The same of the parts of the trait `address`."""
_IDENTIFIERS = ("email", "phone")
"""Traits that are identifiers too."""
_OF_REQUEST = {"ip": "ip", "userAgent": "userAgent", "user_agent": "userAgent", "search": "query"}
"""Properties that tell of the request and not of what was done, and as what a tenant's rules keep them."""
_URL = re.compile(r"(https?://[^?#\s]*)[?#]\S*", re.IGNORECASE)
"""A web address with a query or a fragment, which may hold anything, a person's data among it."""


class EventRecord(NamedTuple):
    """One record that an event makes."""

    section: str
    subject: tuple[str, str]
    """The type and the value of the identifier that it is about."""
    record: Any
    """As JSON has it."""
    at: int | None
    """When it was true, in microseconds; None: its section says, or from when we are told."""


class Circumstances(NamedTuple):
    """What besides an event decides on the records that it makes."""

    source: str
    """Its source, as facts name it."""
    received_at: int
    """In microseconds."""
    known: frozenset[str]
    """Of the ids that aliases give as earlier, those that are known people's."""
    rules: CollectingRules
    """The tenant's."""


def records_of(event: ClientEvent, given: Circumstances, place: int) -> Iterator[EventRecord]:
    """Yield the records that an event makes.

    Args:
        event: the event.
        given: the circumstances.
        place: how many events of its batch before it say that they happened at the same moment.

    Raises:
        InvalidRecord: it names nobody, or lacks what its kind needs.
    """
    subject = event.subject
    if subject is None:
        raise InvalidRecord("An event needs a `userId` or an `anonymousId`.")
    happened = happened_at(event, given.received_at)
    # What a public key says of people must not be of a time at which nobody can check it; what happened is.
    told = max(happened, given.received_at - DAY) if is_public(given.source) else happened
    if event.user_id is not None and event.anonymous_id is not None:
        yield _link(("customer_id", event.user_id), "anonymous_id", event.anonymous_id)
    if (section := given.rules.event_types.get(event.cloud_type or "")) is not None:
        yield EventRecord(section, subject, event.data, told)
        return
    kept = given.rules.kept
    match event.kind:
        case Kind.IDENTIFY:
            yield from _traits(event, subject, told, kept)
        case Kind.GROUP:
            if event.group_id is None:
                raise InvalidRecord("A group event needs a `groupId`.")
            group = {"groupId": event.group_id, "traits": without_requests(event.traits, kept)}
            yield EventRecord("attributes", subject, {"name": "group", "value": group}, told)
        case Kind.ALIAS:
            yield from _alias(event, subject, given.known)
        case _ if event.name != CONSENT_UPDATED:
            yield from _traits(event, subject, told, kept)
            yield _interaction(event, subject, given, happened + place)
    if event.kind is Kind.IDENTIFY or event.name == CONSENT_UPDATED:
        yield from _consent(event, subject, told)


def happened_at(event: ClientEvent, received_at: int) -> int:
    """Return when an event happened. A clock that is ahead is set right; what still lies ahead happened on receipt.

    How far a clock is behind cannot be told: an event that comes late was sent late, or waited on the way.
    """
    if event.at is None:
        return received_at
    if event.at <= received_at:
        return event.at
    ahead = max(0, event.sent_at - received_at) if event.sent_at is not None else 0
    return min(event.at - ahead, received_at)


def _link(subject: tuple[str, str], type_: str, value: str) -> EventRecord:
    return EventRecord("identities", subject, {"type": type_, "value": value}, None)


def _traits(event: ClientEvent, subject: tuple[str, str], told: int, kept: frozenset[str]) -> Iterator[EventRecord]:
    for name, value in without_requests(event.traits, kept).items():
        if not name:
            continue
        for attribute, part in _attributes(name, value):
            yield EventRecord("attributes", subject, {"name": attribute, "value": part}, told)
        if name in _IDENTIFIERS and isinstance(value, str) and value.strip():
            yield _link(subject, name, value)


def _attributes(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that a trait is: of an address whose parts have names that are known, each part."""
    if name == "address" and isinstance(value, dict) and value and value.keys() <= ADDRESS.keys():
        yield from ((ADDRESS[part], text) for part, text in value.items())
    else:
        yield PERSON.get(name, name) if isinstance(value, str) else name, value


def _consent(event: ClientEvent, subject: tuple[str, str], told: int) -> Iterator[EventRecord]:
    for category, is_allowed in event.consent.items():
        status = "granted" if is_allowed else "revoked"
        yield EventRecord("consent", subject, {"kind": "consent", "purpose": category, "status": status}, told)


def _alias(event: ClientEvent, subject: tuple[str, str], known: frozenset[str]) -> Iterator[EventRecord]:
    """Yield the link of an alias. An id that is its own alias says nothing.

    What is known as a person's is linked as that: then a rule refuses to make two people one, and the link waits.
    """
    previous = event.previous_id
    if previous is None:
        raise InvalidRecord("An alias needs a `previousId`.")
    if previous != subject[1]:
        yield _link(subject, "customer_id" if previous in known else "anonymous_id", previous)


def _interaction(event: ClientEvent, subject: tuple[str, str], given: Circumstances, at: int) -> EventRecord:
    kept = given.rules.kept
    properties: dict[str, Any] = {name: value for name, value in event.request.items() if name in kept}
    properties |= without_requests(event.properties, kept)
    kind = event.name if event.kind is Kind.TRACK else event.kind.value
    if kind is None:
        raise InvalidRecord("A track event needs an `event`, its name.")
    if event.kind is not Kind.TRACK and event.name is not None:
        properties.setdefault("name", event.name)
    record: dict[str, Any] = {
        "id": event_id(given.source, event.id),
        "interactionType": kind,
        "timestamp": time.rfc3339(at),
        "offerId": _taken(properties, given.rules.offer_properties),
        "channelId": _taken(properties, given.rules.channel_properties),
    }
    if properties:
        record["properties"] = properties
    return EventRecord("interactions", subject, record, None)


def event_id(source: str, id_: str) -> str:
    """Return the id of an event among all sources' events; one that breaks the rule of names is told by its digest."""
    named = f"{source}:{id_}"
    return named if name_fault(named) is None else f"{source}:{digest(id_)}"


def _taken(properties: dict[str, Any], names: Iterable[str]) -> str | None:
    """Take the first of some properties that is a text or a number out of all properties, and return it as a text."""
    for name in names:
        value = properties.get(name)
        if (isinstance(value, str) and value) or (isinstance(value, int | float) and not isinstance(value, bool)):
            del properties[name]
            return str(value)
    return None


def without_requests(values: dict[str, Any], kept: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return values without those of the request, web addresses without query and fragment; but for what is kept."""
    rest = {name: value for name, value in values.items() if _OF_REQUEST.get(name) is None or _OF_REQUEST[name] in kept}
    return rest if "query" in kept else {name: _shortened(value) for name, value in rest.items()}


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return match[1] if (match := _URL.fullmatch(value)) else value
    if isinstance(value, list):
        return [_shortened(element) for element in value]
    return {name: _shortened(member) for name, member in value.items()} if isinstance(value, dict) else value
