"""The one call that declares a section, stored or computed, and how a declaration becomes a section."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from portrait.model.errors import PluginRefused
from portrait.sections.base import ROLES, ComputedSection, Normalise, Role, StoredSection, key_texts
from portrait.sections.events import Events
from portrait.sections.fold import Becomes, Combine, Fold, Latest, Order, Prefers, StateFold, newest_per_key
from portrait.sections.record import Record, Shape

T = TypeVar("T")


@dataclass(frozen=True)
class Declaration:
    """The arguments of one `register_profile_section`, kept until the registry is built."""

    name: str
    target: Any
    module: str
    options: Mapping[str, Any] = field(default_factory=dict)


_declared: list[Declaration] = []
"""What the decorator collected, in order. The registry picks a module's declarations from here."""


def declared_in(module: str) -> list[Declaration]:
    """Return what a module and those inside it declared, in order."""
    return [
        declaration
        for declaration in _declared
        if declaration.module == module or declaration.module.startswith(f"{module}.")
    ]


def forget(module: str) -> None:
    """Drop what a module declared, before it is run anew."""
    _declared[:] = [declaration for declaration in _declared if declaration.module != module]


def register_profile_section(
    name: str,
    *,
    roles: tuple[Role, ...] = ROLES,
    default: bool = True,
    description: str | None = None,
    timeout: float | None = None,
    cache_seconds: float | None = None,
    breaker: tuple[int, float] | None = None,
    key: tuple[str, ...] | Mapping[type[Record], tuple[str, ...]] | None = None,
    kind: Literal["state", "events"] | None = None,
    fold: Fold[Any] | None = None,
    effective: str | Callable[[Record], Any] | None = None,
    order: str | Order | None = None,
    shown: Callable[[Record], bool] | None = None,
    combine: Combine | None = None,
    rank: Callable[[Record], int] | None = None,
    first: str | Order | None = None,
    becomes: Becomes | None = None,
    withdraws: Callable[[Record], bool] | None = None,
    prefers: Prefers | None = None,
    ranked: bool | None = None,
    grants: Callable[[Record], bool] | None = None,
    planned: Callable[[Record], bool] | None = None,
    normalise: Normalise | None = None,
    extras: str | None = None,
    version: int | None = None,
    upgrade: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
) -> Callable[[T], T]:
    """Declare a profile section: computed, on a function, or stored, on a `Record` class.

    The decorator only collects; the sections come to be when a service starts with this module among its plugins.

    Args:
        name: `[a-z][a-z0-9_-]{0,63}`; `unified-profile` is reserved.
        roles: who may read it; editors and admins among them may also write a stored one.
        default: whether the full profile holds it; asked for by name it always comes.
        description: one line for people; the target's docstring where left out.
        timeout: computed: the deadline in seconds, 0.2 where left out.
        cache_seconds: computed: how long an answer is kept per customer, in seconds; 0, not at all, where left out.
        breaker: computed: after how many failures in a row the function is not called, and for how many seconds; then
            one call tries. Counted per tenant and process. It is always called where left out.
        key: stored: the fields (Python names) whose values name a record; of a union, per record type.
        kind: stored: `state` (the newest record of a key counts; where left out) or `events` (immutable by key).
        fold: stored: a fold of one's own, instead of that of the kind.
        effective: stored: the timestamp field, or a function of the record, that says when it was true. Of events
            needed; of state, where left out, a record is true from the moment we are told.
        order: stored, state: the field, or a function of the record, by which records are shown, highest first; where
            left out, by when they became true, newest first.
        shown: stored, state: tells whether a record is shown; all are where left out.
        combine: stored, state: chooses among the records of two identifiers that are one person; the newest of each
            key where left out.
        rank: stored, state: of two records of one key that became true at once, the higher rank counts.
        first: stored, state: the field, or a function of the record, by which the first record of a key since its last
            delete counts, instead of the newest.
        becomes: stored, state: tells what a record that is true from a moment on becomes by itself, and when.
        withdraws: stored, state: tells which records, as a delete does, also end what was told before and lies ahead.
        prefers: stored, state: chooses among what each source said last; the newest of all where left out.
        ranked: stored, state: whether records are kept with their sources' ranks under the tenant's rules, for
            `prefers` to go by: see `rank_of`. They are not where left out.
        grants: stored, state: tells which records allow something. Where it is given, a record without a moment changes
            nothing if it says what its source said last; one that allows something, and came in a line of many, if its
            source ever said it.
        planned: stored, state: tells which records may be true from more than 24 hours ahead; all where left out.
        normalise: stored: the texts that name a record, where they are not the key fields as they stand.
        extras: stored: the field that gathers fields which the schema does not name; they are refused where left out.
        version: stored: raise it whenever schema, fold or rendering change; 1 where left out.
        upgrade: stored: brings the body of a record of an older version forward.

    Raises:
        PluginRefused: at start, where the declaration cannot be.
    """
    options = {
        "roles": roles, "default": default, "description": description, "timeout": timeout,
        "cache_seconds": cache_seconds, "breaker": breaker, "key": key, "kind": kind, "fold": fold,
        "effective": effective, "order": order,
        "shown": shown, "combine": combine, "rank": rank, "first": first, "becomes": becomes,
        "withdraws": withdraws, "prefers": prefers, "ranked": ranked, "grants": grants, "planned": planned,
        "normalise": normalise, "extras": extras, "version": version, "upgrade": upgrade,
    }  # fmt: skip

    if not isinstance(name, str):
        raise PluginRefused(
            f'{getattr(name, "__module__", "?")}: give the section\'s name: @register_profile_section("loyalty").'
        )

    def collect(target: T) -> T:
        first = getattr(target, "__args__", (target,))[0]
        _declared.append(Declaration(name, target, getattr(first, "__module__", "?"), options))
        return target

    return collect


_STORED_ONLY = frozenset(
    {
        "key",
        "kind",
        "fold",
        "effective",
        "order",
        "shown",
        "combine",
        "rank",
        "first",
        "becomes",
        "withdraws",
        "prefers",
        "ranked",
        "grants",
        "planned",
        "normalise",
        "extras",
        "version",
        "upgrade",
    }
)
_COMPUTED_ONLY = frozenset({"timeout", "cache_seconds", "breaker"})


def build(declaration: Declaration, origin: str) -> StoredSection | ComputedSection:
    """Return the section that a declaration describes.

    Raises:
        PluginRefused: it cannot be; the detail says what is wrong and where.
    """
    target, options = declaration.target, declaration.options
    where = f"Section `{declaration.name}` ({origin})"
    is_function = callable(target) and not isinstance(target, type) and not hasattr(target, "__args__")
    foreign = {name for name in (_STORED_ONLY if is_function else _COMPUTED_ONLY) if options[name] is not None}
    if foreign:
        kind = "computed" if is_function else "stored"
        raise PluginRefused(f"{where}: a {kind} section takes no {', '.join(sorted(foreign))}.")
    if not options["roles"] or set(options["roles"]) - set(ROLES):
        raise PluginRefused(f"{where}: roles must be some of {', '.join(ROLES)}.")
    doc = options["description"] or next(iter((getattr(target, "__doc__", None) or "").strip().splitlines()), "")
    common: dict[str, Any] = {
        "name": declaration.name,
        "description": doc,
        "origin": origin,
        "roles": frozenset(options["roles"]),
        "default": options["default"],
    }
    return _computed(target, options, common, where) if is_function else _stored(target, options, common, where)


def _computed(target: Any, options: Mapping[str, Any], common: dict[str, Any], where: str) -> ComputedSection:
    timeout = 0.2 if options["timeout"] is None else options["timeout"]
    cache_seconds = options["cache_seconds"] or 0
    if not all(isinstance(seconds, int | float) for seconds in (timeout, cache_seconds)):
        raise PluginRefused(f"{where}: timeout and cache_seconds are numbers, in seconds.")
    try:
        inspect.signature(target).bind(None)
    except TypeError:
        raise PluginRefused(f"{where}: the function takes one argument, the context.") from None
    if not 0 < timeout <= 60:
        raise PluginRefused(f"{where}: timeout must be more than 0 and at most 60 seconds.")
    if cache_seconds < 0:
        raise PluginRefused(f"{where}: cache_seconds must not be negative.")
    breaker = options["breaker"]
    if breaker is not None and not _is_breaker(breaker):
        raise PluginRefused(
            f"{where}: breaker must be how many failures, at least 1, and how many seconds, more than 0: (5, 30)."
        )
    return ComputedSection(function=target, timeout=timeout, cache_seconds=cache_seconds, breaker=breaker, **common)


def _is_breaker(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], int)
        and isinstance(value[1], int | float)
        and value[0] >= 1
        and value[1] > 0
    )


def _stored(target: Any, options: Mapping[str, Any], common: dict[str, Any], where: str) -> StoredSection:
    ranked = bool(options["ranked"])
    shape = Shape(target, extras=options["extras"], ranked=ranked, where=where)
    keys = _keys(shape, options["key"], where)
    kind: Literal["state", "events"] = options["kind"] or "state"
    if (options["version"] or 1) < 1:
        raise PluginRefused(f"{where}: `version` must be at least 1.")
    effective = _reader(shape, options["effective"], where, timestamp=True)
    if kind == "events" and effective is None:
        raise PluginRefused(f"{where}: events need `effective`, the timestamp field that says when they happened.")
    if kind == "events" and ranked:
        raise PluginRefused(f"{where}: events are not `ranked`: each counts by itself.")
    union = len(shape.members) > 1
    opaque = (
        union
        or options["normalise"] is not None
        or any(
            len(names) > 1
            or any(field.attribute in names and field.classification != "impersonal" for field in shape.fields[member])
            for member, names in keys.items()
        )
    )
    if union:
        # The tag is part of the key: records of two types never meet under one.
        tagged = {member: str(member.__struct_config__.tag) for member in shape.members}
        own = options["normalise"]

        def normalise(record: Record) -> tuple[str, ...]:
            rest = own(record) if own else key_texts(record, keys[type(record)])
            return (tagged[type(record)], *rest)

        options = {**options, "normalise": normalise}
    if options["first"] is not None and options["prefers"] is not None:
        raise PluginRefused(f"{where}: give either `first` or `prefers`: each says which record of a key counts.")
    section_sort = options["normalise"] or (lambda record: key_texts(record, keys[type(record)]))
    fold: Fold[Any] = options["fold"] or (
        Events()
        if kind == "events"
        else Latest(
            shape,
            section_sort,
            combine=options["combine"] or newest_per_key,
            order=_reader(shape, options["order"], where, timestamp=False),
            shown=options["shown"],
            rank=options["rank"],
            first=_reader(shape, options["first"], where, timestamp=False),
            becomes=options["becomes"],
            withdraws=options["withdraws"],
            prefers=options["prefers"],
        )
    )
    if kind == "state" and not isinstance(fold, StateFold):
        raise PluginRefused(f"{where}: a fold of kind state needs the methods `current`, `live` and `upcoming`.")
    return StoredSection(
        shape=shape,
        key_fields=keys,
        kind=kind,
        fold=fold,
        version=options["version"] or 1,
        upgrade=options["upgrade"],
        ranked=ranked,
        effective=effective,
        grants=options["grants"],
        planned=_never if kind == "events" else options["planned"],
        normalise=options["normalise"],
        opaque_keys=opaque,
        **common,
    )


def _never(_: Record) -> bool:
    return False


def _keys(shape: Shape, key: Any, where: str) -> dict[type[Record], tuple[str, ...]]:
    keys = key if isinstance(key, Mapping) else {shape.members[0]: tuple(key or ())}
    for member in shape.members:
        names = keys.get(member)
        known = {field.attribute for field in shape.fields[member]}
        if not names:
            raise PluginRefused(f"{where}: `key` must name the fields that tell one {member.__name__} from another.")
        if set(names) - known:
            raise PluginRefused(f"{where}: `key` names fields that {member.__name__} does not have.")
    return dict(keys)


def _reader(shape: Shape, option: Any, where: str, *, timestamp: bool) -> Callable[[Record], Any] | None:
    if option is None or callable(option):
        return option  # type: ignore[no-any-return]  # a callable, by the declaration's signature
    for member in shape.members:
        field = next((field for field in shape.fields[member] if field.attribute == option), None)
        if field is None or (timestamp and not field.is_timestamp):
            what = "timestamp field" if timestamp else "field"
            raise PluginRefused(f"{where}: {member.__name__} has no {what} called `{option}`.")
    return lambda record: getattr(record, option)
