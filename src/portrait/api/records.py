"""The records of stored sections: the same routes for each, made from its schema; and the bulk of all."""

import tempfile
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Annotated, Any, Literal, cast

import msgspec

from portrait.access.service import READ, WRITE
from portrait.api import pages
from portrait.api.operation import Answer, Body, Call, Operation, Parameter, encode
from portrait.api.profile import CUSTOMER_ID
from portrait.ingest import records as ingest
from portrait.model import errors
from portrait.model.fact import Fact, Op
from portrait.model.time import rfc3339
from portrait.reading import Listed, Reader
from portrait.recording import MAX_CHUNK, Incoming, Recorder, Refusal
from portrait.sections.base import StoredSection
from portrait.sections.registry import Registry
from portrait.storage.contract import Place

MAX_BULK = 64 * 2**20
"""The largest body of a bulk, in bytes."""
BULK_SECONDS = 600
"""How long a bulk's body may take to arrive, in seconds."""
IN_MEMORY = 2**20
"""So much of a bulk is held in memory, in bytes; the rest waits in a temporary file."""
MAX_REFUSED = 10_000
"""After so many refusals a bulk is read no further: the answer must stay finite."""
SOURCE = "api"
"""The source of records that name none."""

Key = Annotated[str, msgspec.Meta(examples=["seg_001"])]


class Warned(msgspec.Struct):
    """Something to know about a record that was taken."""

    index: int
    code: str


class Recorded(msgspec.Struct):
    """What became of the records."""

    recorded: int
    duplicates: int
    warnings: list[Warned] | msgspec.UnsetType = msgspec.UNSET


class Refused(msgspec.Struct):
    """A record that was not taken."""

    index: int
    """Its place, from 0: of NDJSON the line's, of an array the element's."""
    code: str
    detail: str


class BulkRecorded(msgspec.Struct):
    """What became of a bulk."""

    recorded: int
    duplicates: int
    refused: list[Refused]


class ListedRecord(msgspec.Struct, rename="camel"):
    """A record with what is known of its telling."""

    key: Key
    record: msgspec.Raw
    effective_at: str
    recorded_at: str
    source: str | None


class Told(msgspec.Struct, rename="camel"):
    """One fact of a record's history: what was said, by whom, when."""

    op: Literal["put", "delete"]
    record: msgspec.Raw | None
    effective_at: str
    recorded_at: str
    source: str | None


class Records:
    """Answers the record routes of every stored section."""

    def __init__(self, recorder: Recorder, reader: Reader, registry: Registry) -> None:
        self._recorder = recorder
        self._reader = reader
        self._registry = registry

    def operations(self) -> list[Operation]:
        """Return the declarations of all record routes."""
        sections = [one for section in self._registry.all_stored() for one in _Section(self, section).operations()]
        return [*sections, self._bulk_operation()]

    async def record(self, call: Call, section: StoredSection) -> Answer:
        """Take the records of one customer and section in: all or none."""
        _may_use(call, section)
        customer_id = call.path("customerId")
        call.media_type("application/json")
        incoming = self._parser(call).records(await call.body(), customer_id, section)
        outcome = await self._recorder.record_all(call.tenant.id, incoming)
        warnings = [Warned(one.at, one.code) for one in outcome.warnings]
        answer = Recorded(outcome.recorded, outcome.duplicates, warnings or msgspec.UNSET)
        return Answer(201, encode(answer), {"content-type": "application/json"})

    async def list(self, call: Call, section: StoredSection) -> Answer:
        """List the records of one customer and section."""
        _may_use(call, section)
        limit = call.limit()
        place = pages.position(call, tuple[int, bytes])
        before = Place(*place) if place else None
        items = await self._reader.records(call.tenant.id, call.path("customerId"), section, before, limit + 1)
        return _json(pages.page(items, limit, _listed, lambda one: (one.effective_at, one.id)))

    async def history(self, call: Call, section: StoredSection) -> Answer:
        """List every fact of one record."""
        _may_use(call, section)
        facts = await self._reader.history(call.tenant.id, call.path("customerId"), section, call.path("key"))
        if not facts:
            raise errors.RecordNotFound("This customer never had a record under this key in this section.")
        return _json({"data": [_told(fact) for fact in facts]})

    async def delete(self, call: Call, section: StoredSection) -> Answer:
        """End one record."""
        _may_use(call, section)
        await self._recorder.delete(call.tenant.id, call.path("customerId"), section, call.path("key"), SOURCE)
        return Answer(204, b"")

    async def bulk(self, call: Call) -> Answer:
        """Take records of many customers and sections in."""
        kind = call.media_type("application/x-ndjson", "application/json")
        parser = self._parser(call)
        try:
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
                async for chunk in call.stream(MAX_BULK, BULK_SECONDS):
                    spool.write(chunk)
                texts = ingest.lines if kind == "application/x-ndjson" else _checked_array
                spool.seek(0)
                return await self._bulk(call, parser, texts(cast("Any", spool)))
        except OSError as error:
            raise errors.StorageFull("The service has no room to receive the body; nothing was kept.") from error

    async def _bulk(self, call: Call, parser: ingest.Parser, texts: Iterator[tuple[int, bytes]]) -> Answer:
        answer = BulkRecorded(0, 0, [])
        role = call.caller.role

        def parsed() -> Iterator[Incoming | Refusal]:
            for index, text in texts:
                if len(answer.refused) >= MAX_REFUSED:
                    yield Refusal(index, "too_many_refused", "Records from this one on were not read.")
                    return
                one = parser.line(index, text)
                if isinstance(one, Incoming) and role not in one.section.roles:
                    one = Refusal(index, errors.SectionForbidden.code, "The role may not write this section.")
                yield one

        for incoming, refused in ingest.chunks(parsed(), MAX_CHUNK):
            outcome = await self._recorder.record_each(call.tenant.id, incoming)
            answer.recorded += outcome.recorded
            answer.duplicates += outcome.duplicates
            answer.refused += [Refused(*one) for one in sorted([*refused, *outcome.refused])]
        return _json(answer)

    def _parser(self, call: Call) -> ingest.Parser:
        return ingest.Parser(self._registry, call.tenant.key_secret, SOURCE)

    def _bulk_operation(self) -> Operation:
        names = [section.name for section in self._registry.all_stored()]
        line = {
            "type": "object",
            "title": "RecordLine",
            "properties": {
                "customerId": {"type": "string", "minLength": 1, "maxLength": 256},
                "identifier": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "value": {"type": "string"}},
                    "required": ["type", "value"],
                },
                "section": {"type": "string", "enum": names},
                "record": {"type": "object"},
                "effectiveAt": {"type": ["string", "null"], "format": "date-time"},
                "source": {"type": ["string", "null"]},
            },
            "required": ["section", "record"],
            "additionalProperties": False,
        }
        example = {"customerId": "CUST001", "section": "segments", "record": _SEGMENT}
        return Operation(
            id="record_bulk",
            method="POST",
            path="/api/v1/records",
            summary="Record many records of many customers",
            description=f"Committed in chunks of at most {MAX_CHUNK}. A record that cannot be taken is named in "
            "`refused`; the others count. A body that is too large, or no JSON array where it should be one, is "
            "refused whole, before anything is written.",
            tag="records",
            handler=self.bulk,
            roles=WRITE,
            success=200,
            answer=BulkRecorded,
            example={"recorded": 1, "duplicates": 0, "refused": []},
            body=Body(
                {
                    "application/json": {"type": "array", "items": line},
                    "application/x-ndjson": {"type": "string"},
                },
                {"application/json": [example], "application/x-ndjson": encode(example).decode() + "\n"},
            ),
            fails=(
                errors.MalformedJson,
                errors.UnsupportedMediaType,
                errors.BodyTooLarge,
                errors.BodyTooSlow,
            ),
        )


_SEGMENT = {"segmentId": "seg_001", "segmentName": "High Value", "memberSince": "2026-01-15T00:00:00Z"}


class _Section:
    """The routes of one stored section."""

    def __init__(self, records: Records, section: StoredSection) -> None:
        self._records = records
        self._section = section

    def operations(self) -> "list[Operation]":
        section = self._section
        base = f"/api/v1/customers/{{customerId}}/{section.name}"
        one: Any = section.shape.schema
        example = section.example()
        record = {"$type": one}
        enveloped = {
            "type": "object",
            "properties": {
                "record": record,
                "effectiveAt": {"type": ["string", "null"], "format": "date-time"},
                "source": {"type": ["string", "null"], "maxLength": ingest.MAX_SOURCE},
            },
            "required": ["record"],
            "additionalProperties": False,
        }
        either = {"anyOf": [record, enveloped]}
        several = {"type": "array", "minItems": 1, "items": either}
        key = Parameter(
            "key", "path", "The record's `key`, as the list gives it, percent-encoded.",
            {"type": "string", "minLength": 1, "maxLength": 256}, required=True,
            example="key-from-the-list",
        )  # fmt: skip
        listed = _page_schema(record)
        told = {
            "type": "object",
            "properties": {
                "data": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "op": {"enum": ["put", "delete"]},
                            "record": {"anyOf": [record, {"type": "null"}]},
                            **_TELLING,
                        },
                        "required": ["op", "record", *_TELLING],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["data"],
            "additionalProperties": False,
        }
        common: dict[str, Any] = {"tag": section.name}
        return [
            Operation(
                id=f"record_{section.name}", method="POST", path=base,
                summary=f"Record one or several of: {section.description}", handler=self.record, roles=WRITE,
                description="All or nothing: one bad record refuses the array.",
                success=201, answer=Recorded, example={"recorded": 1, "duplicates": 0}, parameters=(CUSTOMER_ID,),
                body=Body(
                    {"application/json": {"anyOf": [record, enveloped, several]}},
                    {"application/json": example},
                ),
                fails=(
                    errors.MalformedJson, errors.InvalidParameter, errors.UnsupportedMediaType, errors.BodyTooLarge,
                    errors.BodyTooSlow, errors.InvalidRecord, errors.TooManyKeys, errors.EventConflict,
                    errors.SectionForbidden,
                ),
                **common,
            ),
            Operation(
                id=f"list_{section.name}", method="GET", path=base,
                summary=f"List: {section.description}", handler=self.list, roles=READ, success=200, answer=listed,
                example={
                    "data": [{"key": "key", "record": example, **_TOLD_EXAMPLE}],
                    "pagination": {"cursor": None, "hasMore": False},
                },
                description="Newest first; of events all there are, of state what counts now.",
                parameters=(CUSTOMER_ID, *pages.PARAMETERS),
                fails=(errors.InvalidParameter, errors.CustomerNotFound, errors.SectionForbidden), **common,
            ),
            Operation(
                id=f"history_{section.name}", method="GET", path=f"{base}/{{key}}/history",
                summary="List every fact of one record: why we say so", handler=self.history, roles=READ, success=200,
                answer=told, example={"data": [{"op": "put", "record": example, **_TOLD_EXAMPLE}]},
                parameters=(CUSTOMER_ID, key),
                fails=(
                    errors.InvalidParameter, errors.CustomerNotFound, errors.RecordNotFound, errors.SectionForbidden
                ),
                **common,
            ),
            Operation(
                id=f"delete_{section.name}", method="DELETE", path=f"{base}/{{key}}",
                summary="End one record, for every identifier that holds it", handler=self.delete, roles=WRITE,
                success=204, answer=None, parameters=(CUSTOMER_ID, key),
                fails=(
                    errors.InvalidParameter, errors.CustomerNotFound, errors.RecordNotFound, errors.SectionForbidden
                ),
                **common,
            ),
        ]  # fmt: skip

    async def record(self, call: Call) -> Answer:
        return await self._records.record(call, self._section)

    async def list(self, call: Call) -> Answer:
        return await self._records.list(call, self._section)

    async def history(self, call: Call) -> Answer:
        return await self._records.history(call, self._section)

    async def delete(self, call: Call) -> Answer:
        return await self._records.delete(call, self._section)


_MOMENT = {"type": "string", "format": "date-time"}
_TELLING = {"effectiveAt": _MOMENT, "recordedAt": _MOMENT, "source": {"type": ["string", "null"]}}
_TOLD_EXAMPLE = {"effectiveAt": "2026-03-28T10:30:00Z", "recordedAt": "2026-03-28T10:30:02Z", "source": "api"}


def _page_schema(record: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"key": {"type": "string"}, "record": record, **_TELLING},
                    "required": ["key", "record", *_TELLING],
                    "additionalProperties": False,
                },
            },
            "pagination": {"$type": pages.Pagination},
        },
        "required": ["data", "pagination"],
        "additionalProperties": False,
    }


def _checked_array(spool: Any) -> Iterator[tuple[int, bytes]]:
    """Return an array's elements, once all of it was seen to be one."""
    text = TextIOWrapper(spool, encoding="utf-8")
    try:
        for _ in ingest.array(text):
            pass
        text.seek(0)
    except UnicodeDecodeError as error:
        raise errors.MalformedJson(f"The text is not valid UTF-8 (near byte {error.start}).") from None
    return ingest.array(text)


def _may_use(call: Call, section: StoredSection) -> None:
    if call.caller.role not in section.roles:
        raise errors.SectionForbidden("This credential's role may not use this section.")


def _json(value: Any) -> Answer:
    return Answer(200, encode(value), {"content-type": "application/json"})


def _listed(one: Listed) -> ListedRecord:
    return ListedRecord(one.key, msgspec.Raw(one.body), rfc3339(one.effective_at), rfc3339(one.recorded_at), one.source)


def _told(fact: Fact) -> Told:
    record = msgspec.Raw(fact.body) if fact.op is Op.PUT else None
    return Told(fact.op.value, record, rfc3339(fact.effective_at), rfc3339(fact.recorded_at), fact.source)
