"""What a file of declared sources may say: the form of its tables."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from portrait.sections.base import ROLES, Role

MAX_ROWS = 10_000
"""The most rows that a query may be allowed to have."""
MAX_ANSWER_BYTES = 64 * 2**20
"""The most bytes that an answer may be allowed to have."""

_Text = Annotated[str, Meta(min_length=1, max_length=20_000)]
_Type = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class SecretSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: `{ env = "…" }` or `{ file = "…" }`."""

    env: _Text | None = None
    file: _Text | None = None
    prefix: str = ""


class QuerySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[sections.NAME.query]`."""

    database: _Text
    sql: _Text
    password: SecretSpec | None = None
    rows: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 100


class HttpSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[sections.NAME.http]`."""

    url: _Text
    headers: dict[str, str | SecretSpec] = {}
    records: _Text | None = None
    fields: dict[str, str] | None = None
    not_found: Literal["empty", "failure"] = "empty"
    allow_http: bool = False
    allow_private: bool | list[str] = False
    max_bytes: Annotated[int, Meta(ge=1, le=MAX_ANSWER_BYTES)] = 1_000_000


class BreakerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[sections.NAME.breaker]`."""

    failures: Annotated[int, Meta(ge=1, le=1000)] = 5
    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 30.0


class SourceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[sections.NAME]`."""

    description: _Text
    roles: Annotated[tuple[Role, ...], Meta(min_length=1)] = ROLES
    tenants: Annotated[list[_Text], Meta(min_length=1)] | None = None
    identifiers: list[_Type] = []
    timeout: Annotated[float, Meta(gt=0, le=60)] = 0.2
    cache_seconds: Annotated[float, Meta(ge=0, le=604_800)] = 0.0
    default: bool = True
    breaker: BreakerSpec = BreakerSpec()
    query: QuerySpec | None = None
    http: HttpSpec | None = None
