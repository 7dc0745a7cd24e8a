"""The generated blocks of the page on identity, made from the code: one function for each block."""

from collections.abc import Callable, Iterable, Sequence
from math import log2
from typing import Any

import msgspec

from docs.reference import _attributes, code, table
from portrait.identity import decisions, rules
from portrait.identity.confidence import CAP, combined
from portrait.identity.graph import LINKED, Graph, LinkRecord
from portrait.identity.placeholders import (
    CONSTANTS,
    HASHED,
    MACRO,
    NAMELESS,
    NO_DOMAINS,
    NO_MAILBOXES,
    NULLS,
    WORDS,
)
from portrait.identity.rules import DEFAULT, DEFAULT_TYPES, Reason, TypeRule
from portrait.model.identifier import Identifier

Evidence = tuple[str, float]
"""A source, and how sure it is."""

SEVERAL: tuple[tuple[Evidence, ...], ...] = (
    (("crm", 0.9),),
    (("crm", 0.9), ("web", 0.8)),
    (("crm", 0.9), ("web", 0.8), ("till", 0.3)),
    (("crm", 0.9999), ("web", 0.8)),
    (("crm", 1.0), ("web", 0.3)),
)
"""The first worked example: the evidence of several sources for one link."""

ANNA = Identifier("customer_id", "anna")
EMAIL = Identifier("email", "anna@example.com")
PHONE = Identifier("phone", "+12015550123")
DEVICE = Identifier("device_id", "d-1")
PATHS: tuple[tuple[Identifier, Identifier, tuple[Evidence, ...]], ...] = (
    (ANNA, EMAIL, (("crm", 0.95),)),
    (EMAIL, DEVICE, (("web", 0.6),)),
    (ANNA, PHONE, (("crm", 0.9), ("web", 0.8))),
    (PHONE, DEVICE, (("app", 0.7),)),
)
"""The second: the links of one customer's identifiers."""


def types() -> str:
    names = [field.encode_name for field in msgspec.structs.fields(TypeRule) if field.default is not msgspec.UNSET]
    rows = ([code(name), *map(_shown, msgspec.to_builtins(rule).values())] for name, rule in DEFAULT_TYPES.items())
    return table(" | ".join(["type", *map(code, names)]), rows)


def type_rules() -> str:
    return table("of a type | otherwise | meaning", _fields(TypeRule, TypeRule()))


def settings() -> str:
    rows = [row for row in _fields(rules.Rules, DEFAULT) if row[0] != "`types`"]
    return table("of the tenant | default | meaning", rows)


def _fields(kind: type, default: Any) -> list[tuple[str, str, str]]:
    meanings = _attributes(kind)
    values = msgspec.to_builtins(default)
    return [
        (code(field.encode_name), _shown(values.get(field.encode_name)), meanings[field.name])
        for field in msgspec.structs.fields(kind)
    ]


def _shown(value: Any) -> str:
    return {"None": "none", "True": "yes", "False": "no", "[]": "none"}.get(str(value), str(value))


def blocked() -> str:
    return table(
        "blocked | which",
        (
            ("words for none", _listed(NULLS)),
            ("words for nobody in particular", _listed(NAMELESS)),
            ("other words", _listed(WORDS - NULLS - NAMELESS)),
            ("constants of many devices, without signs", _listed(CONSTANTS)),
            ("names in brackets, that were to be filled in", code(MACRO.pattern)),
            ("hashes of an empty text and of the words for none", _listed(HASHED)),
            ("zeros, signs alone, one character six times or more", "`000-000`, `---`, `ffffffff-ffff-…`"),
            ("phones", "zeros, one digit six times or more, digits in a row: see below"),
            ("e-mails, before the @ of any domain", _listed(NO_MAILBOXES)),
            ("e-mails, a word before the @ of such a domain, or of one called by a word", _listed(NO_DOMAINS)),
        ),
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(map(code, sorted(words)))


def reasons() -> str:
    """Every reason in the order of the checks, of which the first to fail is given; the reason of matching is last."""
    first = [Reason.SELF_LINK, Reason.UNKNOWN_TYPE, Reason.BLOCKED_VALUE]
    order = [*first, Reason.SHARED_IDENTIFIER, *(reason for reason, _ in decisions._GUARDS), Reason.REVIEW]
    assert set(order) == set(Reason) == set(rules.WORDS), "a reason is given nowhere, or has no words"
    return table("reason | meaning", ((code(reason.value), rules.WORDS[reason]) for reason in order))


def link_records(evidence: Sequence[Evidence]) -> tuple[LinkRecord, ...]:
    """The evidence of a link as the records that decide on it."""
    return tuple(
        LinkRecord(0, b"", source, "", confidence, "record", 0, 0, LINKED, None) for source, confidence in evidence
    )


def several() -> str:
    rows = []
    for evidence in SEVERAL:
        names = ", ".join(f"`{source}` {confidence:g}" for source, confidence in evidence)
        certain = max(confidence for _, confidence in evidence) == 1
        weights = [log2(capped / (1 - capped)) for capped in (min(confidence, CAP) for _, confidence in evidence)]
        total = sum(weights)
        sums = " ".join(
            [f"{weights[0]:.3f}", *(f"{'-' if weight < 0 else '+'} {abs(weight):.3f}" for weight in weights[1:])]
        )
        sums += f" = {total:.3f}" if len(weights) > 1 else ""
        rows.append((names, "certain" if certain else sums, f"{combined(link_records(evidence), 0):g}"))
    return table("sources say | log2 odds | confidence", rows)


def paths() -> str:
    ends: dict[Identifier, dict[Identifier, Sequence[LinkRecord]]] = {}
    for a, b, evidence in PATHS:
        ends.setdefault(a, {})[b] = link_records(evidence)
        ends.setdefault(b, {})[a] = link_records(evidence)
    widest_paths = Graph(ends).confidences(ANNA, 0)
    rows = []
    for identifier in (EMAIL, PHONE, DEVICE):
        confidence, path = widest_paths[identifier]
        at, steps = ANNA, []
        for link in path:
            at = link.b if link.a == at else link.a
            steps.append(f"{link.confidence:g} → `{at.type}`")
        rows.append((code(identifier.type), f"`customer_id` {' '.join(steps)}", f"{confidence:g}"))
    return table("identifier | widest path | confidence", rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "identity-types": types,
    "identity-type-rules": type_rules,
    "identity-rules": settings,
    "identity-blocked": blocked,
    "identity-reasons": reasons,
    "identity-several": several,
    "identity-paths": paths,
}
