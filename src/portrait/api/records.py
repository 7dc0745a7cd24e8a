"""The records of a stored section: the same routes for each, made from its schema."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from portrait.access.service import READ, WRITE
from portrait.api import pages
from portrait.api.bodies import taken
from portrait.api.operation import Answer, AnswerField, Body, Call, Moment, Operation, Parameter, Step, json_answer
from portrait.api.profile import CUSTOMER_ID
from portrait.ingest.records import MAX_SOURCE, Parser
from portrait.model import errors
from portrait.model.fact import Fact, Op
from portrait.model.time import rfc3339
from portrait.reads.lists import Listed, Lists
from portrait.sections.base import StoredSection
from portrait.storage.contract import Cursor
from portrait.writes.recording import Recorder

T = TypeVar("T")

SOURCE = "api"
"""The source of records that name no source."""

Source = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SOURCE)]


class Warned(msgspec.Struct):
    """Something to know about a record that was taken."""

    index: int
    code: str


class Recorded(msgspec.Struct):
    """What became of the records."""

    recorded: int
    duplicates: int
    warnings: list[Warned] | msgspec.UnsetType = msgspec.UNSET


class Enveloped(msgspec.Struct, Generic[T], rename="camel", forbid_unknown_fields=True):
    """A record with when it was true and who says so."""

    record: T
    effective_at: Moment | None = None
    source: Source | None = None


class ListedRecord(msgspec.Struct, Generic[T], rename="camel"):
    """A record with what is known of its telling."""

    key: str
    record: T
    effective_at: Moment
    recorded_at: Moment
    source: str | None


class Told(msgspec.Struct, Generic[T], rename="camel"):
    """One fact of a record's history: what was said, by whom, when."""

    op: Literal["put", "delete"]
    record: T | None
    effective_at: Moment
    recorded_at: Moment
    source: str | None


class Records:
    """Answers the record routes of one stored section."""

    def __init__(self, section: StoredSection, recorder: Recorder, lists: Lists) -> None:
        self._section = section
        self._recorder = recorder
        self._lists = lists

    async def record(self, call: Call) -> Answer:
        """Take the records of one customer in: all or none."""
        self._check_role(call)
        customer_id = call.path("customerId")
        call.media_type("application/json")
        parser = Parser(call.tenant, SOURCE)
        read = partial(parser.records, customer_id=customer_id, section=self._section)
        incoming = await taken(await call.body(), read)
        outcome = await self._recorder.record_all(call.tenant.id, incoming)
        warnings = [Warned(warning.at, warning.code) for warning in outcome.warnings]
        return json_answer(Recorded(outcome.recorded, outcome.duplicates, warnings or msgspec.UNSET), 201)

    async def list(self, call: Call) -> Answer:
        """List the records of one customer."""
        self._check_role(call)
        asked = call.tenant.id, call.path("customerId"), self._section
        upcoming = call.flag("upcoming")
        if self._section.kind == "state":
            if upcoming:
                after = pages.position(call, tuple[pages.Int64, str])
                some = await self._lists.upcoming(*asked, after, call.limit())
                return json_answer(pages.part(some, _listed, lambda record: (record.effective_at, record.key)))
            some = await self._lists.states(*asked, pages.position(call, str), call.limit())
            return json_answer(pages.part(some, _listed, lambda record: record.key))
        some = await self._lists.events(*asked, _cursor(call), call.limit(), upcoming=upcoming)
        return json_answer(pages.part(some, _listed, lambda event: (event.effective_at, event.id)))

    async def history(self, call: Call) -> Answer:
        """List the facts of one record."""
        self._check_role(call)
        before = _cursor(call)
        some = await self._lists.history(
            call.tenant.id, call.path("customerId"), self._section, call.path("key"), before, call.limit()
        )
        if not some.items and before is None:
            raise errors.RecordNotFound("This customer never had a record under this key in this section.")
        return json_answer(pages.part(some, _history_fact, lambda fact: (fact.effective_at, fact.id)))

    async def delete(self, call: Call) -> Answer:
        """End one record."""
        self._check_role(call)
        customer_id, key, at = call.path("customerId"), call.path("key"), call.moment("effectiveAt")
        await self._recorder.delete(call.tenant.id, customer_id, self._section, key, SOURCE, at)
        return Answer(204, b"")

    def _check_role(self, call: Call) -> None:
        if call.caller.role not in self._section.roles:
            raise self._section.forbidden(call.caller.role)

    def operations(self) -> "tuple[Operation, ...]":
        """Return the routes' declarations."""
        name, record = self._section.name, self._section.shape.schema
        described = self._section.description
        base = f"/api/v1/customers/{{customerId}}/{name}"
        example, answer_example = self._section.example(), self._section.shown_example()
        telling = {"effectiveAt": "2026-03-28T10:30:00Z", "recordedAt": "2026-03-28T10:30:02Z", "source": "api"}
        last = {"cursor": None, "hasMore": False}
        listed = Step(f"/api/v1/customers/{CUSTOMER_ID.example}/{name}?limit=1")
        key = replace(_KEY, answer_field=AnswerField(listed, "key"))
        bare, enveloped = {"$type": record}, {"$type": _of(Enveloped, record)}
        several = {"type": "array", "minItems": 1, "items": {"anyOf": [bare, enveloped]}}
        may_fail = (errors.InvalidParameter, errors.CustomerNotFound, errors.SectionForbidden)
        order = "All events, newest first." if self._section.kind == "events" else "The current records, by key."
        return (
            Operation(
                id=f"record_{name}", method="POST", path=base, tag=name, handler=self.record, roles=WRITE,
                summary=f"Record {name}", success=201, answer=Recorded, example={"recorded": 1, "duplicates": 0},
                description=f"{described} One record or an array, each as it is or as an object of `record`, "
                "`effectiveAt` and `source`. All or nothing: one bad record refuses the array.",
                parameters=(CUSTOMER_ID,),
                body=Body({"application/json": {"anyOf": [bare, enveloped, several]}}, {"application/json": example}),
                fails=(
                    errors.MalformedJson, errors.InvalidParameter, errors.UnsupportedMediaType, errors.BodyTooLarge,
                    errors.BodyTooSlow, errors.InvalidRecord, errors.TooManyKeys, errors.SectionTooLarge,
                    errors.EventConflict, errors.SectionForbidden, errors.BlockedIdentifier, errors.SectionFailed,
                ),
            ),
            Operation(
                id=f"list_{name}", method="GET", path=base, tag=name, handler=self.list, roles=READ,
                summary=f"List {name}", success=200, answer=_of(pages.Page, _of(ListedRecord, record)),
                description=f"{described} {order} With `upcoming` the records that take effect later, each with its "
                "moment.",
                example={
                    "data": [{"key": "key", "record": answer_example, **telling}],
                    "pagination": last,
                },
                parameters=(CUSTOMER_ID, _UPCOMING, *pages.PARAMETERS), fails=(*may_fail, errors.SectionFailed),
            ),
            Operation(
                id=f"history_{name}", method="GET", path=f"{base}/{{key}}/history", tag=name, handler=self.history,
                roles=READ, summary=f"Show the history of one of {name}", success=200,
                answer=_of(pages.Page, _of(Told, record)),
                description="Every fact of the record, newest first, with source and times.",
                example={"data": [{"op": "put", "record": answer_example, **telling}], "pagination": last},
                parameters=(CUSTOMER_ID, key, *pages.PARAMETERS),
                fails=(*may_fail, errors.RecordNotFound, errors.SectionFailed),
            ),
            Operation(
                id=f"delete_{name}", method="DELETE", path=f"{base}/{{key}}", tag=name, handler=self.delete,
                roles=WRITE, summary=f"End one of {name}", success=204, answer=None,
                description="For every identifier of the customer that has the record, also where it takes effect "
                "later. Its history stays.",
                parameters=(CUSTOMER_ID, key, _EFFECTIVE_AT),
                fails=(*may_fail, errors.RecordNotFound, errors.InvalidRecord),
            ),
        )  # fmt: skip


_UPCOMING = Parameter(
    "upcoming", "query", "Whether to list the records that take effect later instead of the current records.",
    {"type": "boolean", "default": False},
)  # fmt: skip
_EFFECTIVE_AT = Parameter(
    "effectiveAt", "query", "When the record ends, RFC 3339 with an offset or `Z`; now by default.",
    {"type": "string", "format": "date-time"},
)  # fmt: skip
_KEY = Parameter(
    "key", "path", "The record's `key`, as the list gives it, percent-encoded.",
    {"type": "string", "minLength": 1, "maxLength": 256}, required=True, example="key-from-the-list",
)  # fmt: skip


def _of(generic: Any, record: Any) -> Any:
    """Return a generic of a section's schema, which is known only at run time."""
    return generic[record]


def _cursor(call: Call) -> Cursor | None:
    cursor = pages.position(call, tuple[pages.Int64, bytes])
    return Cursor(*cursor) if cursor else None


def _listed(record: Listed) -> ListedRecord[msgspec.Raw]:
    return ListedRecord(
        record.key, msgspec.Raw(record.body), rfc3339(record.effective_at), rfc3339(record.recorded_at), record.source
    )


def _history_fact(fact: Fact) -> Told[msgspec.Raw]:
    record = msgspec.Raw(fact.body) if fact.op is Op.PUT else None
    return Told(fact.op.value, record, rfc3339(fact.effective_at), rfc3339(fact.recorded_at), fact.source)
