"""Refused events over HTTP: listed, counted, taken again, dropped."""

from typing import Any, Literal

import msgspec

from portrait.access.service import WRITE
from portrait.api import pages
from portrait.api.bodies import decoded
from portrait.api.identity_actions import Named
from portrait.api.operation import Answer, Body, Call, Example, Moment, Operation, Parameter, json_answer
from portrait.collecting.rejects import Rejects, RejectsWanted
from portrait.model import errors
from portrait.model.identifier import Identifier
from portrait.model.time import rfc3339
from portrait.storage.contract import RefusedEvent
from portrait.writes.naming import Naming

FOUND = 100
"""The most refused events that a search returns."""


class RejectedEvent(msgspec.Struct, rename="camel"):
    """One event that a client sent and that was refused."""

    id: str
    source: str
    form: str
    """The family of clients that writes events so, and the type where the path says it."""
    code: str
    detail: str
    received_at: Moment
    identifiers: list[Named]
    """Those that could be read from it."""
    event: str
    """As it was sent; of a long one the beginning."""


class RejectedCount(msgspec.Struct):
    """How many refused events of one source are kept for one reason."""

    source: str
    code: str
    events: int
    bytes: int


class RejectedCounts(msgspec.Struct):
    """How many refused events are kept, by source and reason."""

    data: list[RejectedCount]


class RefusedEventsAction(msgspec.Struct, forbid_unknown_fields=True):
    """What to do with which refused events: with all for which each field holds that is given."""

    action: Literal["find", "replay", "drop"]
    source: str | None = None
    code: str | None = None
    identifier: Named | None = None


class RefusedEventsOutcome(msgspec.Struct):
    """What was done: how many were taken, refused again, or dropped; or the events that were sought."""

    taken: int | msgspec.UnsetType = msgspec.UNSET
    refused: int | msgspec.UnsetType = msgspec.UNSET
    dropped: int | msgspec.UnsetType = msgspec.UNSET
    data: list[RejectedEvent] | msgspec.UnsetType = msgspec.UNSET


class RejectResource:
    """Answers the routes of refused events."""

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects

    async def list(self, call: Call) -> Answer:
        """List refused events."""
        limit = call.limit()
        wanted = RejectsWanted(call.query("source"), call.query("code"))
        items = await self._rejects.listed(call.tenant.id, wanted, pages.position(call, bytes), limit + 1)
        return json_answer(pages.page(items, limit, _shown, lambda one: one.id))

    async def count(self, call: Call) -> Answer:
        """Count refused events."""
        counts = await self._rejects.counts(call.tenant.id)
        return json_answer(RejectedCounts([RejectedCount(*count) for count in counts]))

    async def act(self, call: Call) -> Answer:
        """Take refused events again, drop them, or find those of a person."""
        asked = await decoded(call, RefusedEventsAction)
        identifier: Identifier | None = None
        if asked.identifier is not None:
            identifier = Naming(call.tenant).named(asked.identifier.type, asked.identifier.value).identifier
        wanted = RejectsWanted(asked.source, asked.code, identifier)
        match asked.action:
            case "find":
                found = await self._rejects.listed(call.tenant.id, wanted, None, FOUND)
                return json_answer(RefusedEventsOutcome(data=[_shown(one) for one in found]))
            case "replay":
                replayed = await self._rejects.replay(call.tenant, wanted)
                return json_answer(RefusedEventsOutcome(taken=replayed.taken, refused=replayed.refused))
            case "drop":
                return json_answer(RefusedEventsOutcome(dropped=await self._rejects.drop(call.tenant.id, wanted)))

    def operations(self) -> tuple[Operation, ...]:
        """Return the routes' declarations."""
        example: dict[str, Any] = {
            "id": "0b1c2d3e4f5061728394a5b6c7d8e9f0", "source": "public:web", "form": "segment",
            "code": "invalid_record", "detail": "An event needs a `userId` or an `anonymousId`.",
            "receivedAt": "2026-03-01T12:00:00Z", "identifiers": [], "event": '{"type":"track","event":"Seen"}',
        }  # fmt: skip
        which = (
            Parameter("source", "query", "Only events of this source.", {"type": "string"}, example="public:web"),
            Parameter("code", "query", "Only events that were refused for this reason.", {"type": "string"},
                      example="invalid_record"),
        )  # fmt: skip
        named = {"type": "email", "value": "ann@example.com"}
        return (
            Operation(
                id="list_rejects", method="GET", path="/api/v1/rejects", tag="collecting", handler=self.list,
                roles=WRITE, summary="List the events that clients sent and that were refused", success=200,
                answer=pages.Page[RejectedEvent], parameters=(*pages.PARAMETERS, *which),
                example={"data": [example], "pagination": {"cursor": None, "hasMore": False}},
                fails=(errors.InvalidParameter,),
                description="They are kept for as long as the setting `reject_days` says.",
            ),
            Operation(
                id="count_rejects", method="GET", path="/api/v1/rejects/counts", tag="collecting", handler=self.count,
                roles=WRITE, summary="Count refused events, by source and reason", success=200, answer=RejectedCounts,
                example={"data": [{"source": "public:web", "code": "invalid_record", "events": 12, "bytes": 4711}]},
            ),
            Operation(
                id="act_on_rejects", method="POST", path="/api/v1/rejects", tag="collecting", handler=self.act,
                roles=WRITE, is_long=True, summary="Take refused events again, drop them, or find those of a person",
                success=200, answer=RefusedEventsOutcome, example={"taken": 12, "refused": 0},
                description="`replay` takes events again, as of when they were received, once what was wrong with them"
                f" is mended: a rule, say. `find` returns at most {FOUND} events that name an identifier.",
                body=Body(
                    {"application/json": {"$type": RefusedEventsAction}},
                    {"application/json": {"action": "replay", "source": "public:web"}},
                    {
                        "replay": Example({"action": "replay", "source": "public:web"}),
                        "drop": Example({"action": "drop", "code": "invalid_record"}),
                        "find": Example({"action": "find", "identifier": named}),
                    },
                ),
                fails=(
                    errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow,
                    errors.InvalidRecord, errors.UnknownIdentifierType, errors.BlockedIdentifier,
                ),
            ),
        )  # fmt: skip


def _shown(reject: RefusedEvent) -> RejectedEvent:
    return RejectedEvent(
        reject.id.hex(), reject.source, reject.form, reject.code, reject.detail, rfc3339(reject.received_at),
        [Named(*identifier) for identifier in reject.identifiers], reject.body.decode("utf-8", "replace"),
    )  # fmt: skip
