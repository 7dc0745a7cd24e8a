"""Records and facts of any section, made from its schema: examples for the properties of sections."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from harness import START
from portrait.model import time
from portrait.model.fact import Fact, Op
from portrait.model.identifier import customer
from portrait.projection import fold_facts
from portrait.sections import registry
from portrait.sections.base import StoredSection
from portrait.sections.events import Events
from portrait.sections.ranks import with_rank

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "examples" / "plugins"
REGISTRY = registry.load([str(PLUGINS / "reviews.py"), str(PLUGINS / "lifetime_value.py")], installed=False)
"""The built-in sections and the stored ones among the examples."""
SECTIONS = {section.name: section for section in REGISTRY.all_stored()}
SECTIONS["interactions, 3 shown"] = replace(SECTIONS["interactions"], fold=Events(3))
"""By name; one of them shows so few events that the others are soon out of sight."""
STATE = [name for name, section in SECTIONS.items() if section.kind == "state"]
SECRET = bytes(32)
MINUTE = 60 * time.SECOND
RANKS = {None: 100, "crm": 5, "shop": 5, "public:web": 1001}
"""The sources that tell of state, and their ranks where a section's records are kept with them."""
RECORDED_FROM = START - 60 * MINUTE
"""Facts are recorded within the hour before START; they are effective up to two hours before and after it."""
AFTER = START + 121 * MINUTE
"""No fact that is recorded from now on lies ahead."""

# Few values, so that keys meet; and where a schema takes any text, the texts on which rules decide.
_TEXTS: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("identities", "type"): st.sampled_from(["email", "phone"]),
    ("identities", "value"): st.sampled_from(["a@example.com", "A@example.com", " a@example.com ", "+4930123"]),
    ("journeys", "status"): st.sampled_from(["active", "completed", "exited"]),
    **dict.fromkeys(
        [("interactions", "id"), ("reviews", "reviewId"), ("lifetime-value", "purchaseId")],
        st.integers(0, 15).map("e{:02}".format),
    ),
    ("lifetime-value", "currency"): st.sampled_from(["EUR", "JPY", "USD"]),
}
_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "ü"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)


def moments() -> st.SearchStrategy[str]:
    """Timestamps in any offset, few enough to be equal at times."""
    return st.builds(
        lambda days, hours: (
            datetime(2026, 5, 1, 12, tzinfo=UTC) + timedelta(days=days)
        ).astimezone(timezone(timedelta(hours=hours))).isoformat(),
        st.integers(0, 4),
        st.integers(-11, 14),
    )  # fmt: skip


def _values(section: str, name: str, kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.Metadata():
            return _values(section, name, kind.type)
        case inspect.UnionType():
            return st.one_of(
                [_values(section, name, type_) for type_ in kind.types if type(type_).__name__ != "UnsetType"]
            )
        case inspect.StrType():
            return _TEXTS.get((section, name), st.sampled_from("abc"))
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.IntType():
            return st.integers(kind.ge or 0, kind.le or 100)
    return {
        inspect.DateTimeType: moments(),
        inspect.FloatType: st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        inspect.NoneType: st.none(),
        inspect.DictType: st.dictionaries(st.sampled_from("abc"), _anything, max_size=2),
        inspect.AnyType: _anything,
    }[type(kind)]


def records(section: StoredSection) -> st.SearchStrategy[dict[str, Any]]:
    """Records of a section as JSON would show them, optional fields at times left out."""
    strategies = []
    for member in section.shape.members:
        info = inspect.type_info(member)
        assert isinstance(info, inspect.StructType)
        tag = {info.tag_field: st.just(info.tag)} if info.tag_field else {}
        fields = {field.encode_name: _values(section.name, field.encode_name, field.type) for field in info.fields}
        needed = {field.encode_name for field in info.fields if field.required}
        strategies.append(
            st.fixed_dictionaries(
                tag | {name: values for name, values in fields.items() if name in needed},
                optional={name: values for name, values in fields.items() if name not in needed},
            )
        )
    return st.one_of(strategies)


class Statement(NamedTuple):
    """A statement of a source, which becomes a fact once it is recorded."""

    customer_id: str
    effective_at: int
    record: dict[str, Any] | None
    key_of: dict[str, Any]
    """The record that has the key; a delete has one too."""
    source: str | None = None


def statements_of(
    section: StoredSection, *, size: int = 12, deletes: bool = True
) -> st.SearchStrategy[list[Statement]]:
    """Statements of up to three histories, no two effective at one moment; each key of events once a history."""
    ends = deletes and section.kind == "state"
    statement = st.builds(
        lambda who, record, end, source: Statement(who, 0, None if end else record, record, source),
        st.sampled_from(["c1", "c2", "c3"]),
        records(section),
        st.sampled_from([False, False, False, True]) if ends else st.just(False),
        st.sampled_from(list(RANKS)) if section.kind == "state" else st.none(),
    )
    unique = (
        (lambda statement: (statement.customer_id, parsed(section, statement.key_of).key))
        if section.kind == "events"
        else None
    )
    many = st.lists(statement, max_size=size, unique_by=unique)

    @st.composite
    def timed(draw: st.DrawFn) -> list[Statement]:
        drawn = draw(many)
        minutes = draw(st.lists(st.integers(-120, 120), min_size=len(drawn), max_size=len(drawn), unique=True))
        return [
            statement._replace(effective_at=START + at * MINUTE) for statement, at in zip(drawn, minutes, strict=True)
        ]

    return timed()


def parsed(section: StoredSection, record: Any) -> Any:
    return section.parse(msgspec.json.encode(record), SECRET)[1]


def facts_of(section: StoredSection, statements: list[Statement], since: int = RECORDED_FROM) -> list[Fact]:
    """Return the facts of statements that are recorded in this order, from a moment on."""
    facts = []
    for index, statement in enumerate(statements):
        recorded_at = since + index * time.SECOND
        parsed_record = parsed(section, statement.key_of)
        body = with_rank(parsed_record.body, RANKS[statement.source]) if section.ranked else parsed_record.body
        facts.append(
            Fact(
                identifier=customer(statement.customer_id),
                section=section.name,
                key=parsed_record.key,
                op=Op.DELETE if statement.record is None else Op.PUT,
                body=b"" if statement.record is None else body,
                effective_at=statement.effective_at,
                recorded_at=recorded_at,
                source=statement.source,
                id=recorded_at.to_bytes(16, "big"),
                version=section.version,
            )
        )
    return facts


def state_of(section: StoredSection, facts: Any) -> Any:
    return fold_facts(section, facts)


def rendered(section: StoredSection, state: Any, now: int) -> tuple[bytes, int | None]:
    """Return the bytes of the document of a state at a moment, and until when it is valid."""
    content, until = section.fold.render(state, now)
    return msgspec.json.encode(content, order="deterministic"), until
