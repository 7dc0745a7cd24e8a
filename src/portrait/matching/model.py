"""What is compared: from the columns of a table, the comparisons of a Fellegi-Sunter model, in Splink's form.

Each comparison is a ladder of levels, best first; a pair stands on the first whose condition holds. A level has two
probabilities: m, to stand there when both records are of one person, and u, when they are of two. What depends on
each other shares one ladder: who lives in one street lives in one town too, and counting both would count one thing
twice. Hence the parts of an address are one comparison.

Conditions are in the SQL that DuckDB and Spark have in common, over values that `clean` has made.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from portrait.model.errors import InputRefused

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "given_name": ("first_name", "firstname", "forename"),
    "surname": ("last_name", "lastname", "family_name"),
    "name": ("full_name",),
    "street_number": ("house_number",),
    "street": ("address_1", "address", "address_line_1"),
    "street_2": ("address_2", "address_line_2"),
    "postcode": ("postal_code", "zip", "zip_code"),
    "city": ("suburb", "town", "locality"),
    "state": ("region", "county", "province"),
    "country": ("country_code",),
    "birth_date": ("date_of_birth", "dob", "birthday"),
    "email": ("email_address",),
    "phone": ("phone_number", "mobile"),
    "company": ("organisation", "organization"),
}
"""The standard names of columns, each with the other names that it is known by, whatever their case."""

GROUPS = (
    ("given_name", "surname"),
    ("street", "street_2", "street_number", "postcode", "city", "state", "country"),
    ("birth_date",),
    ("email",),
    ("phone",),
    ("company",),
)
"""The standard names by subject. Columns of one group alone are not enough to tell people apart."""
ADDRESS = GROUPS[1]

SESSIONS: tuple[tuple[str, ...], ...] = (
    ("given_name", "surname"),
    ("email",),
    ("phone",),
    ("birth_date",),
    ("street_number", "postcode"),
    ("street_number", "city"),
    ("street",),
    ("postcode", "city"),
    ("postcode",),
    ("city",),
    ("company",),
)
"""Where training looks: among pairs that agree on these it learns how the other attributes of one person differ."""


class Level(msgspec.Struct, frozen=True):
    """One level: its condition in SQL, the m assumed before training, the column whose rare values count more."""

    sql: str
    m: float
    rare: str | None = None
    kin: bool = False
    """Whether names so unlike may be those of two people of a family, where there are families."""


class Comparison(msgspec.Struct, frozen=True):
    """A ladder of levels over some columns; `missing` is the condition under which it says nothing."""

    name: str
    columns: tuple[str, ...]
    missing: str
    levels: tuple[Level, ...]
    """Without the last, ELSE."""

    @property
    def kin(self) -> tuple[int, ...]:
        """The levels of names so unlike that they may be of a family, as Splink counts: from ELSE, 0, up."""
        return (0, *(len(self.levels) - index for index, level in enumerate(self.levels) if level.kin))

    @property
    def m(self) -> tuple[float, ...]:
        """The m of each level that is assumed before training, ELSE last."""
        probabilities = tuple(level.m for level in self.levels)
        return (*probabilities, max(1 - sum(probabilities), 0.01))


def named(columns: Iterable[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return standard names to the table's columns: those chosen, then those that have a known name.

    Raises InputRefused for a choice that is no standard name or no column.
    """
    have = {column.casefold(): column for column in reversed(list(columns))}
    for name, column in chosen.items():
        if name not in COLUMNS:
            raise InputRefused(f"A chosen attribute is unknown. Known attributes: {', '.join(COLUMNS)}.")
        if column.casefold() not in have:
            raise InputRefused(f"The column chosen for {name} is not in the table.")
    known_columns: dict[str, str] = {}
    for name, others in COLUMNS.items():
        wanted = [chosen[name]] if name in chosen else [name, *others]
        known = next((have[each.casefold()] for each in wanted if each.casefold() in have), None)
        if known is not None:
            known_columns[name] = known
    return known_columns


def comparisons(usable: Iterable[str]) -> tuple[Comparison, ...]:
    """Return the comparisons for the columns that say something.

    Raises InputRefused where they are too few to tell people apart: fewer than three, or all of one group.
    """
    have = set(usable)
    groups = [group for group in GROUPS if have & set(group)]
    if len(have & set(COLUMNS)) < 3 or len(groups) < 2:
        raise InputRefused(
            "Matching needs at least three columns about a person, of more than one kind (name, address, birth "
            f"date, email, phone, company). The known column names are {', '.join(COLUMNS)}."
        )
    made = []
    if "given_name" in have:
        made.append(_name("given_name", "surname" if "surname" in have else None))
    if "surname" in have:
        made.append(_name("surname", "given_name" if "given_name" in have else None))
    if have & set(ADDRESS):
        made.append(_address(have))
    made += [build() for name, build in _OTHERS.items() if name in have]
    return tuple(made)


def settings(
    compared: tuple[Comparison, ...], chances: Mapping[str, "Chances"], prior: float, *, rare: bool = True
) -> dict[str, Any]:
    """Return what Splink calls settings, with the m and u of each level; `rare` adjusts for rare values."""
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "uid",
        "probability_two_random_records_match": prior,
        "blocking_rules_to_generate_predictions": [],
        "retain_matching_columns": True,  # and with them on which level a pair stands
        "retain_intermediate_calculation_columns": False,
        "em_convergence": 1e-5,
        "comparisons": [_splink(comparison, chances[comparison.name], rare=rare) for comparison in compared],
    }


class Chances(msgspec.Struct, frozen=True):
    """The m and u of each level of a comparison, ELSE last."""

    m: tuple[float, ...]
    u: tuple[float, ...]


def _splink(comparison: Comparison, chances: Chances, *, rare: bool) -> dict[str, Any]:
    levels: list[dict[str, Any]] = [{"sql_condition": comparison.missing, "is_null_level": True}]
    for level, m, u in zip((*comparison.levels, Level("ELSE", 0)), chances.m, chances.u, strict=True):
        level_settings: dict[str, Any] = {"sql_condition": level.sql, "m_probability": m, "u_probability": u}
        if rare and level.rare is not None:
            level_settings |= {"tf_adjustment_column": level.rare, "tf_adjustment_weight": 1.0}
        levels.append(level_settings)
    for index, level_dict in enumerate(levels):
        level_dict["label_for_charts"] = f"{comparison.name} {index}"
    return {"output_column_name": comparison.name, "comparison_levels": levels}


def _equal(column: str) -> str:
    return f"{column}_l = {column}_r"


def _close(left: str, right: str, edits: int, length: int = 1) -> str:
    """Within so many edits (Levenshtein), both of that length at least; lengths are looked at first, being cheap."""
    a, b = f"{left}_l", f"{right}_r"
    return (
        f"(abs(length({a}) - length({b})) <= {edits} and least(length({a}), length({b})) >= {length}"
        f" and levenshtein({a}, {b}) <= {edits})"
    )


def _missing(column: str) -> str:
    return f"{column}_l is null or {column}_r is null"


def _name(column: str, other: str | None) -> Comparison:
    levels = [
        Level(_equal(column), 0.75, rare=column),
        Level(_close(column, column, 1, 3), 0.08),
        Level(_close(column, column, 2, 5), 0.03, kin=True),  # two letters exchanged are two edits
    ]
    missing = _missing(column)
    if other is not None:
        # Exchanged names count for the given name alone: for the surname too they would count twice.
        ways = [_either(_close(*pair, 1, 2), _close(*pair, 2, 5)) for pair in ((column, other), (other, column))]
        if column == "given_name":
            levels += [Level(" and ".join(ways), 0.03), Level(" or ".join(ways), 0.01, kin=True)]
        else:
            missing = f"{missing} or (({' or '.join(ways)}) and not {_equal(column)})"
    if column == "given_name":
        initial = f"substr({column}_l, 1, 1) = substr({column}_r, 1, 1)"
        levels.append(Level(f"least(length({column}_l), length({column}_r)) = 1 and {initial}", 0.02))
    return Comparison(column, tuple(c for c in (column, other) if c), missing, tuple(levels))


def _address(have: set[str]) -> Comparison:
    """All parts of an address on one ladder, from the same door down to the same country."""
    parts = [part for part in ADDRESS if part in have]
    street = _either("street" in have and _fuzzy("street"), *_crossed(have))
    second = _either("street_2" in have and _fuzzy("street_2"))
    number = _either("street_number" in have and _equal("street_number"))
    postcode = _either("postcode" in have and f"{_equal('postcode')} or {_equal('postcode_bag')}")
    city = _either("city" in have and _fuzzy("city"))
    locality = _either(postcode, city)
    whole = postcode and city and f"({postcode} and {city})"
    ladder = [
        ((number, whole, street), 0.5),
        ((number, locality, street), 0.12),
        ((whole, street), 0.1),
        ((locality, street), 0.05),
        ((locality, second), 0.04),
        ((number, whole), 0.02),
        ((number, street), 0.02),
        ((whole,), 0.02),
        ((street,), 0.01),
        ((number, locality), 0.01),
        ((locality,), 0.02),
        ((_either("state" in have and _equal("state")),), 0.04),
        ((_either("country" in have and _equal("country")),), 0.03),
    ]
    levels = [Level(" and ".join(map(str, each)), m) for each, m in ladder if all(each)]
    missing = " or ".join("(" + " and ".join(f"{part}_{side} is null" for part in parts) + ")" for side in "lr")
    return Comparison("address", tuple(parts), missing, tuple(levels))


def _fuzzy(column: str) -> str:
    return f"{_equal(column)} or {_close(column, column, 2, 5)}"


def _crossed(have: set[str]) -> list[str]:
    """Return when the first line of one address is the second of the other."""
    if not {"street", "street_2"} <= have:
        return []
    return [_close("street", "street_2", 2, 5), _close("street_2", "street", 2, 5)]


def _either(*conditions: str | bool) -> str:
    parts = [condition for condition in conditions if isinstance(condition, str) and condition]
    return f"({' or '.join(parts)})" if parts else ""


def _birth_date() -> Comparison:
    levels = (
        Level(_equal("birth_date"), 0.85),
        Level(_close("birth_date", "birth_date", 1, 6), 0.05),
        Level(_close("birth_date", "birth_date", 2, 6), 0.04),
    )
    return Comparison("birth_date", ("birth_date",), _missing("birth_date"), levels)


def _email() -> Comparison:
    levels = (
        Level(_equal("email"), 0.6, rare="email"),
        Level(_equal("email_user"), 0.05, rare="email_user"),
        Level(_close("email", "email", 2, 8), 0.05),
    )
    return Comparison("email", ("email",), _missing("email"), levels)


def _phone() -> Comparison:
    levels = (Level(_equal("phone"), 0.6, rare="phone"), Level(_close("phone", "phone", 1, 7), 0.05))
    return Comparison("phone", ("phone",), _missing("phone"), levels)


def _company() -> Comparison:
    levels = (Level(_equal("company"), 0.7, rare="company"), Level(_close("company", "company", 2, 6), 0.1))
    return Comparison("company", ("company",), _missing("company"), levels)


_OTHERS = {"birth_date": _birth_date, "email": _email, "phone": _phone, "company": _company}
