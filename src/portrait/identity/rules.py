"""One tenant's rules of which links are let through, with careful defaults, and the reasons for which they refuse."""

import logging
import re
from collections.abc import Set as AbstractSet
from enum import StrEnum
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from portrait.identity.forms import Form
from portrait.identity.hashing import Hashable, hashes
from portrait.identity.normalise import Forms, is_readable
from portrait.identity.patterns import Patterns
from portrait.identity.phones import region_fault
from portrait.identity.placeholders import is_nobodys, is_uncertain
from portrait.model import strict_json
from portrait.model.errors import InvalidRules
from portrait.model.identifier import CUSTOMER_ID, Identifier
from portrait.model.source import is_public

MAX_RULES = 2**18
"""The longest JSON text of a tenant's rules, in bytes."""
UNRANKED = 100
"""The rank of a source that the rules do not name."""
_PUBLIC_RANK = 1001
"""The rank of a source that anybody can speak as and that the rules do not name: behind all others."""
_FEWEST = 2
"""The fewest people with whom an identifier can count as shared."""
_KEPT = 256
"""How many tenants' rules are kept as they were read."""
_log = logging.getLogger("portrait.identity")


class Rule(StrEnum):
    """How a link came to be."""

    RECORD = "record"
    """A source's record says so."""
    LINK = "link"
    """Somebody linked them by hand."""
    MERGE = "merge"
    """Somebody merged two customers."""
    UNLINK = "unlink"
    UNMERGE = "unmerge"
    FIRST_SEEN = "first_seen"
    """An identifier that nobody knew got a profile of its own."""
    ACCEPTED = "accepted"
    """A refused link was accepted in review."""
    REJECTED = "rejected"
    CANNOT_LINK = "cannot_link"
    """Somebody keeps two apart."""
    ALLOW_LINK = "allow_link"
    """Somebody lets two be linked again who were kept apart."""
    MATCH = "match"
    """Matching in batch found them alike."""
    REKEY = "rekey"
    """An identifier that is stored under an older form is this one, by the forms of now."""
    HASH = "hash"
    """One is the other's hash."""
    SPLIT = "split"
    """An identifier was taken to be shared, and was split off."""


BY_HAND = frozenset({Rule.LINK, Rule.MERGE, Rule.ACCEPTED, Rule.FIRST_SEEN})
"""Where links come from that are a person's own word, or lead to an id of Portrait's making."""


OF_FORMS = frozenset({Rule.REKEY, Rule.HASH})
"""Where links come from that the forms of two identifiers make, and nobody's word."""


class Reason(StrEnum):
    """Why a link was refused."""

    SELF_LINK = "self_link"
    REVIEW = "review"
    UNKNOWN_TYPE = "unknown_type"
    BLOCKED_VALUE = "blocked_value"
    CANNOT_LINK = "cannot_link"
    UNIQUE_TYPE = "unique_type"
    LIMIT = "limit"
    WEAK_EVIDENCE = "weak_evidence"
    SHARED_IDENTIFIER = "shared_identifier"
    LOW_CONFIDENCE = "low_confidence"
    COMPONENT_CAP = "component_cap"
    UNCERTAIN_VALUE = "uncertain_value"


WORDS = {
    Reason.REVIEW: "The probability of the match is below the threshold for a link.",
    Reason.SELF_LINK: "An identifier cannot be linked with itself.",
    Reason.UNKNOWN_TYPE: "The tenant's rules do not know this type of identifier.",
    Reason.BLOCKED_VALUE: "The value is blocked: it is a placeholder, or many people have it.",
    Reason.CANNOT_LINK: "Two of their identifiers are kept apart; merging or allowing just these two lifts the ban.",
    Reason.UNCERTAIN_VALUE: "The value may belong to several people: it is not a whole and valid number, or not an "
    "address.",
    Reason.UNIQUE_TYPE: "Two profiles with different identifiers of a unique type are not joined.",
    Reason.LIMIT: "The profile would have more identifiers of one type than the limit.",
    Reason.WEAK_EVIDENCE: "A device, cookie or anonymous id alone does not join two known people.",
    Reason.SHARED_IDENTIFIER: "So many people have the identifier that it counts as shared.",
    Reason.LOW_CONFIDENCE: "The confidence is below the minimum for joining two profiles.",
    Reason.COMPONENT_CAP: "The profile would have more identifiers than the limit.",
}
"""What each reason means, for people."""


class TypeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What holds for identifiers of one type."""

    priority: Annotated[int, Meta(ge=0, le=1000)] = 100
    """Of the links of one request the lower number is decided on first, so that the weaker is what gets refused."""
    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """The most that a profile may have; None: any number."""
    window_days: Annotated[int, Meta(ge=1, le=36500)] | None = None
    """Only those linked within so many days count for the limit; None: all."""
    unique: bool = False
    """Whether a person has only one, so that two profiles which hold different ones are never joined."""
    weak: bool = False
    """Whether it names a thing rather than a person: alone it never joins two people who are known apart."""
    shared_from: Annotated[int, Meta(ge=2, le=1000)] | None = None
    """Seen with so many people it is taken to be shared; None: never."""
    form: Form | msgspec.UnsetType = msgspec.UNSET
    """Of a type of the tenant's own: the form in which its values match; where left out, the text as it is."""
    of: Hashable | msgspec.UnsetType = msgspec.UNSET
    """Of a type of `sha256`: the type whose hashes its values are. A clear value told is matched with its hashes."""


DEFAULT_TYPES = {
    CUSTOMER_ID: TypeRule(priority=0, unique=True),
    "email": TypeRule(priority=10, limit=5, shared_from=3),
    "phone": TypeRule(priority=20, limit=5, shared_from=3),
    "device_id": TypeRule(priority=30, limit=20, weak=True, shared_from=3),
    "cookie_id": TypeRule(priority=40, limit=100, weak=True, shared_from=3),
    "anonymous_id": TypeRule(priority=50, limit=100, weak=True, shared_from=3),
}
"""The built-in types, and what holds for them where a tenant says nothing else."""

_NAME = r"^[a-z][a-z0-9_]{0,63}$(?!\n)"
_Text = Annotated[str, Meta(min_length=1, max_length=512)]
_Type = Annotated[str, Meta(pattern=_NAME)]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", dict=True):
    """One tenant's identity rules. What is left out is as by default."""

    types: dict[_Type, TypeRule] = {}
    """The tenant's own types, and built-in ones that are to be otherwise: what is left out of one stays as it is."""
    blocked_values: list[_Text] = []
    """Further values that are never linked, whatever their case."""
    blocked_patterns: list[_Text] = []
    """Further regular expressions, in RE2's form: what one matches as a whole, whatever its case, is never linked."""
    allowed_values: list[_Text] = []
    """Values that count, whatever their case, although they are blocked as built in: a customer id `NA`, say."""
    shared: Literal["warn", "demote", "split"] = "split"
    """What becomes of a shared identifier: a warning only; no further link; or it is split off its profile besides."""
    max_identifiers: Annotated[int, Meta(ge=2, le=1000)] = 1000
    """The most identifiers of one profile."""
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """The least confidence with which a link merges two profiles."""
    unsure: Literal["link", "wait"] = "link"
    """What becomes of a record below that about an identifier that is nobody yet: it links it, or waits for review."""
    weak_guard: bool = True
    """Whether weak identifiers are kept from joining people who are known apart."""
    block_junk: bool = True
    """Whether what is built in is blocked, and what may be several people's is kept from joining any."""
    source_ranks: dict[_Text, Annotated[int, Meta(ge=0, le=1000)]] = {}
    """Of claims and attributes that contradict each other the lowest holds; one unnamed has 100, a public one 1001."""
    region: str | None = None
    """Where phone numbers without a country's prefix are from: ISO 3166-1 alpha-2."""

    @cached_property
    def all_types(self) -> dict[str, TypeRule]:
        """Return the rule of every type that the tenant knows; a limit is never beyond that of all identifiers."""
        most = self.max_identifiers
        return {
            name: msgspec.structs.replace(rule, limit=most) if rule.limit is not None and rule.limit > most else rule
            for name, rule in (DEFAULT_TYPES | self.types).items()
        }

    @cached_property
    def forms(self) -> Forms:
        """The forms in which the tenant's identifiers match."""
        return Forms(self.region, {name: rule.form for name, rule in self.types.items() if rule.form})

    def hashes(self, identifier: Identifier) -> list[Identifier]:
        """Return the hashes by which an identifier is known too, where it is clear and certain, and the tenant asks."""
        if (
            identifier.type not in self.hashed
            or not is_readable(*identifier)
            or self.blocks(identifier)
            or self.is_uncertain(identifier)
        ):
            return []
        kind: Hashable = "email" if identifier.type == "email" else "phone"
        types = [name for name, rule in self.types.items() if rule.of == kind]
        return [Identifier(type_, digest) for type_ in types for digest in hashes(kind, identifier.value)]

    @cached_property
    def hashed(self) -> frozenset[str]:
        """The types of which the tenant has a type of hashes."""
        return frozenset(rule.of for rule in self.types.values() if rule.of)

    @cached_property
    def name(self) -> str | None:
        """A short text that differs between rules that mean different things; None: the rules mean the default."""
        differences = {
            "types": {name: rule for name, rule in self.all_types.items() if rule != DEFAULT.all_types.get(name)},
            **{
                field: sorted(value) if isinstance(value, list) else value
                for field in self.__struct_fields__
                if field != "types" and (value := getattr(self, field)) != getattr(DEFAULT, field)
            },
        }
        if differences == {"types": {}}:
            return None
        return blake2b(msgspec.json.encode(differences, order="deterministic"), digest_size=6).hexdigest()

    def rank(self, source: str | None) -> int:
        """Return the rank of a source: of claims that contradict each other, that of the lower rank holds."""
        if source is None:
            return UNRANKED
        return self.source_ranks.get(source, _PUBLIC_RANK if is_public(source) else UNRANKED)

    def shared_from(self, type_: str, *, is_vouched: bool) -> int | None:
        """Return from how many people on an identifier counts as shared; None: it never does.

        Of a weak one that only public sources name two are too many: anybody may have said either.

        Args:
            type_: the identifier's type.
            is_vouched: whether any source that is not public names it.
        """
        rule = self.of(type_)
        return rule.shared_from if is_vouched or not rule.weak or rule.shared_from is None else _FEWEST

    def of(self, type_: str) -> TypeRule:
        """Return the rule of a type."""
        return self.all_types.get(type_, _UNKNOWN)

    def knows(self, type_: str) -> bool:
        """Tell whether a type is built in, or the tenant's own."""
        return type_ in self.all_types

    @cached_property
    def patterns(self) -> Patterns:
        """The tenant's own patterns, ready to match. Not all may be usable: an older version let others through."""
        return Patterns(self.blocked_patterns)

    @cached_property
    def _own_values(self) -> frozenset[str]:
        return frozenset(value.casefold() for value in self.blocked_values)

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(value.casefold() for value in self.allowed_values)

    def blocks(self, identifier: Identifier, original: str | None = None) -> bool:
        """Tell whether an identifier's value says nothing of a person, in its matched form or its original text.

        A customer id is the company's own word: only the built-in words for none and the tenant's blocked values apply.

        Args:
            identifier: the identifier.
            original: its original value; None: it is not known.
        """
        original = identifier.value if original is None else original
        texts = {identifier.value, original}
        if not identifier.value or any(text.casefold() in self._own_values for text in texts):
            return True
        if identifier.type != CUSTOMER_ID and any(map(self.patterns.match, texts)):
            return True
        return is_nobodys(identifier, original, self.region) and self._holds(texts)

    def is_null_id(self, identifier: Identifier) -> bool:
        """Tell whether an identifier is a customer id that is a word for none, blocked by nothing but that."""
        if identifier.type != CUSTOMER_ID or not is_nobodys(identifier, identifier.value, self.region):
            return False
        return identifier.value.casefold() not in self._own_values and self._holds({identifier.value})

    def is_uncertain(self, identifier: Identifier) -> bool:
        """Tell whether an identifier's value may be several people's, so that it joins no two of them."""
        return is_uncertain(identifier, self.region) and self._holds({identifier.value})

    def _holds(self, texts: AbstractSet[str]) -> bool:
        """Tell whether the built-in lists apply to a value: the tenant has not allowed it."""
        return self.block_junk and not any(text.casefold() in self._allowed for text in texts)

    def is_sure(self, rule: str, confidence: float) -> bool:
        """Tell whether a link is sure: it is not from a record, or its confidence is at least the least that merges."""
        return rule != Rule.RECORD or confidence >= self.min_confidence


_UNKNOWN = TypeRule()
DEFAULT = Rules()


def _decoded(raw: bytes) -> Rules:
    """Return the rules of a JSON text, with defaults for what it leaves out.

    Raises:
        msgspec.MsgspecError: it breaks the schema.
    """
    decoded = msgspec.json.decode(raw)
    types = decoded.get("types") if isinstance(decoded, dict) else None
    if isinstance(types, dict):
        decoded["types"] = {name: _whole(name, type_) for name, type_ in types.items()}
    return msgspec.convert(decoded, Rules)


def _whole(name: str, type_rule: Any) -> Any:
    """Return a rule of a type, completed with the defaults that can stand with it; hashes have some of theirs."""
    if not isinstance(type_rule, dict):
        return type_rule
    if name not in DEFAULT_TYPES:
        clear = DEFAULT_TYPES.get(type_rule.get("of", "")) if isinstance(type_rule.get("of", ""), str) else None
        return type_rule if clear is None else {"priority": clear.priority, "sharedFrom": clear.shared_from} | type_rule
    usual = msgspec.to_builtins(DEFAULT_TYPES[name])
    if type_rule.get("unique"):
        usual["limit"] = None
    return usual | type_rule


def read(stored: bytes | None) -> Rules:
    """Return a tenant's rules from their stored form; a log line says where patterns cannot be used."""
    return DEFAULT if stored is None else _read(stored)


@lru_cache(maxsize=_KEPT)
def _read(stored: bytes) -> Rules:
    rules = _decoded(stored)
    if unused := len(rules.patterns.faults):
        _log.warning("%d of a tenant's blockedPatterns match nothing: GET /api/v1/identity/rules says which", unused)
    return rules


def parse(raw: bytes) -> Rules:
    """Return the rules that a JSON text holds.

    Raises:
        MalformedJson: it is not JSON; the detail says where.
        InvalidRules: it is too long, breaks the schema, or the rules contradict each other; the detail says where.
    """
    if len(raw) > MAX_RULES:
        raise InvalidRules(f"Identity rules have at most {MAX_RULES} bytes of JSON.")
    strict_json.check(raw)
    strict_json.decode(raw)
    try:
        rules = _decoded(raw)
    except msgspec.MsgspecError as error:
        raise InvalidRules(
            f"The identity rules break their schema at {_broken(str(error))}. See docs/explanation/identity.md."
        ) from None
    for index, wrong in rules.patterns.faults.items():
        raise InvalidRules(f"`blockedPatterns[{index}]` {wrong}.")
    if rules.region is not None and (fault := region_fault(rules.region)):
        raise InvalidRules(f"Field `region` {fault}.")
    for name, rule in rules.types.items():
        if fault := _form_fault(name, rule) or _contradiction(name, rule, rules):
            raise InvalidRules(f"`types.{name}`: {fault}.")
    return rules


def _broken(message: str) -> str:
    """Return where rules break their schema, and what would be right there; never a value of the rules."""
    what, _, where = message.partition(" - at ")
    match = re.search(r"\$\.([\w.\[\]]+)", where)
    path = f"`{match[1]}`" if match else "the document"
    if "`key`" in where:
        return f"{path}: a type's name is of a-z, 0-9 and _, at most 64, and begins with a letter"
    if "unknown field" in what:
        fields = msgspec.structs.fields(TypeRule if "types" in path else Rules)
        return f"{path}: known rules are {', '.join(field.encode_name for field in fields)}"
    if "enum" in what:
        fields = msgspec.structs.fields(TypeRule if "types" in path else Rules)
        chosen = next(field.type for field in fields if field.encode_name in path.rpartition(".")[2])
        names = get_args(chosen) if get_origin(chosen) is Literal else get_args(get_args(chosen)[0])
        return f"{path}: expected one of {', '.join(names)}"
    return f"{path}: {what[0].lower()}{what[1:].partition(', got')[0]}"


def _contradiction(name: str, rule: TypeRule, rules: Rules) -> str | None:
    """Return which of a type's rules cannot stand together, or None."""
    if name == CUSTOMER_ID and rule.weak:
        return "a customer id cannot be weak: it names the profile"
    if rule.unique and rule.weak:
        return "a type cannot be both unique and weak: a unique type keeps people apart"
    if rule.limit is None:
        return None if rule.window_days is None else "`windowDays` needs a `limit`"
    if rule.unique and rule.limit > 1:
        return "a person has one identifier of a unique type: leave `limit` out or make it 1"
    usual = DEFAULT_TYPES.get(name, _UNKNOWN).limit
    beyond = rule.limit > rules.max_identifiers and rule.limit != usual
    return "`limit` is beyond `maxIdentifiers`" if beyond else None


def _form_fault(name: str, rule: TypeRule) -> str | None:
    """Return why a type cannot have its form, or None."""
    if name in DEFAULT_TYPES and (rule.form or rule.of):
        return "a built-in type has its own form: `form` and `of` are for the tenant's own types"
    return "`of` needs `form` to be `sha256`: it says what was hashed" if rule.of and rule.form != "sha256" else None


def view(rules: Rules) -> dict[str, Any]:
    """Return a tenant's rules as people see them: every type with all that holds for it.

    Where patterns cannot be used, `unusedPatterns` says which, and why.
    """
    made: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(rules, types=rules.all_types))
    if faults := rules.patterns.faults:
        made["unusedPatterns"] = [{"index": index, "detail": f"{fault}."} for index, fault in faults.items()]
    return made
