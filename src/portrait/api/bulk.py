"""`POST /api/v1/records`: many records of many customers and sections."""

import asyncio
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Literal, cast

import msgspec

from portrait.access.service import WRITE
from portrait.api.operation import Answer, Body, Call, Moment, Operation, encode, json_answer
from portrait.api.records import SOURCE, Source, Warned
from portrait.ingest.records import Parser, chunks
from portrait.model import errors, streams
from portrait.sections.registry import Registry
from portrait.writes.incoming import Incoming
from portrait.writes.recording import MAX_CHUNK, Recorder, Refusal

MAX_BULK = 64 * 2**20
"""The largest body of a bulk, in bytes."""
BULK_SECONDS = 600
"""How long a bulk's body may take to arrive, in seconds."""
IN_MEMORY = 2**20
"""So much of a bulk is held in memory, in bytes; the rest waits in a temporary file."""
MAX_WARNED = 10_000
"""So many warnings are named; a last warning says that others follow: the answer must stay finite."""
MAX_REFUSED = 10_000
"""After so many refusals a bulk is read no further: the answer must stay finite."""


class NamedIdentifier(msgspec.Struct):
    """An identifier of a customer."""

    type: str
    value: str


class RecordLine(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One record of a bulk; its customer is named by either `customerId` or `identifier`."""

    section: str
    record: dict[str, Any]
    customer_id: str | msgspec.UnsetType = msgspec.UNSET
    identifier: NamedIdentifier | msgspec.UnsetType = msgspec.UNSET
    effective_at: Moment | None = None
    source: Source | None = None
    op: Literal["put"] | None = None


class DeleteLine(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The end of a record, named by either its `key` or, in `record`, the fields of its key."""

    section: str
    op: Literal["delete"]
    record: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    key: str | msgspec.UnsetType = msgspec.UNSET
    customer_id: str | msgspec.UnsetType = msgspec.UNSET
    identifier: NamedIdentifier | msgspec.UnsetType = msgspec.UNSET
    effective_at: Moment | None = None
    source: Source | None = None


class Refused(msgspec.Struct):
    """A record that was not taken."""

    index: int
    """Its index, from 0: of NDJSON the line's, of an array the element's."""
    code: str
    detail: str


class BulkRecorded(msgspec.Struct):
    """What became of a bulk."""

    recorded: int
    duplicates: int
    refused: list[Refused]
    warnings: list[Warned] | msgspec.UnsetType = msgspec.UNSET


class Bulk:
    """Answers the bulk route."""

    def __init__(self, recorder: Recorder, registry: Registry) -> None:
        self._recorder = recorder
        self._registry = registry

    async def record(self, call: Call) -> Answer:
        """Receive the whole body, then take its records in, chunk after chunk."""
        kind = call.media_type("application/x-ndjson", "application/json")
        try:
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
                async for chunk in call.stream(MAX_BULK, BULK_SECONDS):
                    spool.write(chunk)
                body = cast("IO[bytes]", spool)
                body.seek(0)
                if kind == "application/x-ndjson":
                    return await self._record(call, streams.lines(body))
                await asyncio.to_thread(_check_array, body)
                body.seek(0)
                return await self._record(call, streams.elements(body))
        except OSError as error:
            raise errors.StorageFull("The service has no disk space for the body; nothing was kept.") from error

    async def _record(self, call: Call, texts: Iterator[tuple[int, bytes]]) -> Answer:
        answer = BulkRecorded(0, 0, [])
        warnings: list[Warned] = []
        parser = Parser(call.tenant, SOURCE)

        def parsed() -> Iterator[Incoming | Refusal]:
            for index, text in texts:
                if len(answer.refused) >= MAX_REFUSED:
                    yield Refusal(index, "too_many_refused", "This record and all after it were not read.")
                    return
                line = parser.line(index, text, self._registry)
                if isinstance(line, Incoming) and call.caller.role not in line.section.roles:
                    line = Refusal(index, errors.SectionForbidden.code, "The role may not use this section.")
                yield line

        parts = chunks(parsed(), MAX_CHUNK)
        # In a thread: records that take long to read must not keep other requests waiting.
        while (chunk := await asyncio.to_thread(next, parts, None)) is not None:
            outcome = await self._recorder.record_each(call.tenant.id, chunk.incoming)
            answer.recorded += outcome.recorded
            answer.duplicates += outcome.duplicates
            answer.refused += [Refused(*refusal) for refusal in sorted([*chunk.refused, *outcome.refused])]
            warnings += [
                Warned(warning.at, warning.code) for warning in outcome.warnings[: MAX_WARNED + 1 - len(warnings)]
            ]
        if len(warnings) > MAX_WARNED:
            warnings[-1].code = "too_many_warnings"
        answer.warnings = warnings or msgspec.UNSET
        return json_answer(answer)

    def operations(self) -> tuple[Operation, ...]:
        """Return the route's declaration."""
        section = next(iter(self._registry.all_stored()))
        example = {"customerId": "CUST001", "section": section.name, "record": section.example()}
        return (
            Operation(
                id="record_bulk", method="POST", path="/api/v1/records", tag="records", handler=self.record,
                roles=WRITE, is_long=True, summary="Record many records of many customers", success=200,
                answer=BulkRecorded,
                description=f"Committed in chunks of at most {MAX_CHUNK}. `refused` lists the records that were "
                f"refused; all others are recorded. After {MAX_REFUSED} refusals reading stops. `warnings`, present "
                "only if there are any, lists records that were taken and says what is doubtful about each. With `op` "
                "`delete` a line ends a record. A body that is too large, or no JSON array where it should be one, is "
                "refused whole before anything is written.",
                example={"recorded": 1, "duplicates": 0, "refused": []},
                body=Body(
                    {
                        "application/json": {
                            "type": "array",
                            "items": {"anyOf": [{"$type": RecordLine}, {"$type": DeleteLine}]},
                        },
                        "application/x-ndjson": {"type": "string"},
                    },
                    {"application/json": [example], "application/x-ndjson": encode(example).decode() + "\n"},
                ),
                fails=(errors.MalformedJson, errors.UnsupportedMediaType, errors.BodyTooLarge, errors.BodyTooSlow),
            ),
        )  # fmt: skip


def _check_array(spool: IO[bytes]) -> None:
    """Go over a whole body once, before anything of it is written.

    Raises:
        MalformedJson: it is not one JSON array; the detail says where.
    """
    for _ in streams.elements(spool):
        pass
