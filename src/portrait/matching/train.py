"""How the m and u of each level are learnt, without labels, the same on every engine.

u is counted among the pairs of a sample of records; m comes from Splink's expectation maximisation among pairs that
agree on something (`SESSIONS`), in samples of whole blocks, so that the pairs of one person stay together. The samples
are chosen by hashes, fetched from the engine, and learnt from in DuckDB: so both engines compare with one model.
"""

import contextlib
import math
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from portrait.matching.engine import LOG_LEVEL, Engine, local
from portrait.matching.extra import needed
from portrait.matching.model import GROUPS, SESSIONS, Chances, Comparison, comparisons, settings

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 2_000
"""Records whose pairs give u: two million pairs."""
BUDGET = 500_000
"""Pairs that a session learns from, about."""
BLOCK = 200
"""Records that agree on what a session looks at; where more do, it says little of who they are."""
WEIGHT = 10.0
"""So many pairs of one person weigh the m that is assumed before training."""
DIGITS = 9
ROUNDS = (50, 12, 3)
"""Rounds of expectation maximisation at most; fewer where so many do not go well."""


class Model(msgspec.Struct, frozen=True):
    """What was learnt: saved as JSON, and all that comparing needs."""

    usable: tuple[str, ...]
    prior: float
    """The probability that two random records are of one person."""
    chances: dict[str, Chances]
    families: float
    """Among pairs that agree on surname and address, the share whose given names begin with different letters."""

    def settings(self) -> dict[str, Any]:
        """Return the model in Splink's form."""
        return settings(comparisons(self.usable), self.chances, self.prior)


class _Learnt(msgspec.Struct):
    """What one session learnt."""

    columns: tuple[str, ...]
    matches: float
    """The pairs of one person in its sample, about."""
    share: float
    """The share of all such blocks that is in its sample."""
    m: dict[str, tuple[float, ...]]


def train(engine: Engine, usable: tuple[str, ...], counts: tuple[int, ...], step: Callable[[int, int], None]) -> Model:
    """Learn the model of the tables that an engine has open; `step` gets the steps that are done, and all steps."""
    compared = comparisons(usable)
    sessions = _sessions(usable)
    steps = len(sessions) + 2
    step(0, steps)
    total = math.prod(counts) if len(counts) > 1 else counts[0] * (counts[0] - 1) / 2
    if not total:
        return Model(
            usable, 0.5, {comparison.name: Chances(comparison.m, comparison.m) for comparison in compared}, 0.0
        )
    prior = min(0.5, 0.5 * min(counts) / total) if len(counts) > 1 else min(0.5, 0.25 * counts[0] / total)
    counted, pairs = _u(engine, compared)
    chances = {
        comparison.name: Chances(
            comparison.m, _without_matches(counted[comparison.name], comparison.m, prior, 0.5 / pairs)
        )
        for comparison in compared
    }
    step(1, steps)
    learnt = []
    for done, columns in enumerate(sessions, 2):
        session = _session(engine, compared, chances, prior, columns, apart=len(counts) > 1)
        if session is not None:
            learnt.append(session)
        step(done, steps)
    m = {comparison.name: _m(comparison, learnt) for comparison in compared}
    prior = _prior(m, learnt, total, prior)
    model = Model(
        usable,
        _rounded(prior),
        {
            comparison.name: Chances(
                tuple(map(_rounded, m[comparison.name])),
                tuple(
                    map(_rounded, _without_matches(counted[comparison.name], m[comparison.name], prior, 0.5 / pairs))
                ),
            )
            for comparison in compared
        },
        _rounded(_families(engine, usable)),
    )
    step(steps, steps)
    return model


def _sessions(usable: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the first session of each group of attributes whose columns are there."""
    chosen: dict[int, tuple[str, ...]] = {}
    for columns in SESSIONS:
        group = next(index for index, group in enumerate(GROUPS) if columns[0] in group)
        if set(columns) <= set(usable):
            chosen.setdefault(group, columns)
    return list(chosen.values())


def _u(engine: Engine, compared: tuple[Comparison, ...]) -> tuple[dict[str, tuple[float | None, ...]], float]:
    """Return how often each level holds among the pairs of a sample, None where never; and how many pairs there are."""
    sample = engine.rows(f"select * from records order by md5(uid) limit {SAMPLE}")
    flat = {comparison.name: Chances(comparison.m, comparison.m) for comparison in compared}
    with _linker(sample, settings(compared, flat, 0.01, rare=False)) as linker:
        linker.training.estimate_u_using_random_sampling(max_pairs=1e12, min_count_per_level=None, num_chunks=1)
        model = linker.misc.save_model_to_json()
    levels = {comparison["output_column_name"]: comparison["comparison_levels"] for comparison in model["comparisons"]}
    counted = {name: tuple(level.get("u_probability") for level in ladder[1:]) for name, ladder in levels.items()}
    return counted, max(1.0, sample.num_rows * (sample.num_rows - 1) / 2)


def _without_matches(
    counted: tuple[float | None, ...], m: tuple[float, ...], prior: float, least: float
) -> tuple[float, ...]:
    """Take the pairs of one person out of what was counted among random pairs: count = prior m + (1 - prior) u."""
    return tuple(max(least, ((c or 0.0) - prior * of) / (1 - prior)) for c, of in zip(counted, m, strict=True))


def _session(
    engine: Engine,
    compared: tuple[Comparison, ...],
    chances: dict[str, Chances],
    prior: float,
    columns: tuple[str, ...],
    *,
    apart: bool,
) -> _Learnt | None:
    """Learn from pairs that agree on some columns; None where there are none."""
    sample, share = _blocks(engine, columns)
    rule = " and ".join([*(f"l.{column} = r.{column}" for column in columns), *(["l.side <> r.side"] if apart else [])])
    free = tuple(comparison for comparison in compared if not set(comparison.columns) & set(columns))
    if not free or not sample.num_rows:
        return None
    model, pairs = _maximised(sample, settings(compared, chances, prior, rare=False), rule)
    if model is None:
        return None
    m = {}
    for comparison in model.comparisons:
        # A level that was never seen has a made-up m: it weighs nothing here, and what is assumed stands.
        probabilities = tuple(level.m_probability for level in comparison.comparison_levels if not level.is_null_level)
        if sum(probabilities[:-1]) > 0.5:  # else the pairs agree on no other column, and are no person's
            m[comparison.output_column_name] = probabilities
    return _Learnt(columns, model.probability_two_random_records_match * pairs, share, m)


def _maximised(sample: "pa.Table", model_settings: dict[str, Any], rule: str) -> tuple[Any, int]:
    """Return what expectation maximisation learns, None where nothing agrees, and how many pairs agree.

    Splink refuses an m that nears 0 closer than 1e-300, as that of a level does on which only other people's pairs
    stand: with fewer rounds m stays away from 0, and the result differs little.
    """
    for rounds in ROUNDS:
        with _linker(sample, model_settings | {"max_iterations": rounds}) as linker:
            count = f"select count(*) as n from records l join records r on {rule} and l.uid < r.uid"
            pairs = linker.misc.query_sql(count).as_record_list()[0]["n"]
            if not pairs:
                break
            with contextlib.suppress(ValueError):
                session = linker.training.estimate_parameters_using_expectation_maximisation(
                    rule, estimate_without_term_frequencies=True
                )
                return session.core_model_settings, pairs
    return None, 0


def _blocks(engine: Engine, columns: tuple[str, ...]) -> tuple["pa.Table", float]:
    """Return whole blocks of records that agree on the columns, about BUDGET pairs, and their share of all."""
    by = ", ".join(columns)
    there = " and ".join(f"{column} is not null" for column in columns)
    sizes = f"select count(*) as n from records where {there} group by {by} having count(*) between 2 and {BLOCK}"
    pairs = engine.rows(f"select sum(n * (n - 1) / 2) as pairs from ({sizes}) blocks")["pairs"][0].as_py() or 0
    share = min(1.0, BUDGET / max(1, pairs))
    # A hash of what they agree on takes a block in whole or not at all. 8 hexadecimal digits are 32 bits.
    taken = "" if share == 1 else f" and substr(md5(concat_ws('|', {by})), 1, 8) < '{int(share * (1 << 32)):08x}'"
    sized = f"select *, count(*) over (partition by {by}) as n from records where {there}{taken}"
    return engine.rows(f"select * from ({sized}) sized where n between 2 and {BLOCK}"), share


def _m(comparison: Comparison, learnt: list[_Learnt]) -> tuple[float, ...]:
    """Return the mean of what the sessions say, each weighed by the pairs of one person that it saw."""
    weights = [
        (WEIGHT, comparison.m),
        *((each.matches, each.m[comparison.name]) for each in learnt if comparison.name in each.m),
    ]
    total = sum(weight for weight, _ in weights)
    return tuple(sum(weight * m[level] for weight, m in weights) / total for level in range(len(comparison.m)))


def _prior(m: dict[str, tuple[float, ...]], learnt: list[_Learnt], total: float, assumed: float) -> float:
    """Return the share of all pairs that are of one person.

    A session saw the pairs that agree on its columns; the m of those columns give their share of all pairs.
    """
    estimates = [
        each.matches / each.share / math.prod(m[column][0] for column in each.columns) / total
        for each in learnt
        if set(each.columns) <= m.keys()
    ]
    return min(0.5, max(median(estimates) if estimates else assumed, 0.5 / total))


def _families(engine: Engine, usable: tuple[str, ...]) -> float:
    """Return how often two of one surname and address have given names of different first letters.

    Typing errors make that rare; where it is not, there are families, and an address and a surname are not a person.
    """
    address = [column for column in ("street", "street_number", "postcode", "city") if column in usable]
    if not {"given_name", "surname"} <= set(usable) or len(address) < 2:
        return 0.0
    by = ", ".join(["surname", *address])
    there = " and ".join(f"{column} is not null" for column in ("given_name", "surname", *address))

    def pairs(also: str) -> float:
        sizes = (
            f"select count(*) as n from records where {there} group by {by}{also} having count(*) between 2 and {BLOCK}"
        )
        return float(engine.rows(f"select sum(n * (n - 1) / 2) as pairs from ({sizes}) s")["pairs"][0].as_py() or 0)

    all_pairs = pairs("")
    return max(0.0, 1 - pairs(", substr(given_name, 1, 1)") / all_pairs) if all_pairs else 0.0


@contextlib.contextmanager
def _linker(sample: "pa.Table", model_settings: dict[str, Any]) -> Any:
    """Return a Splink linker over a sample, in a DuckDB of its own; the sample is its table `records`."""
    splink = needed("splink")
    with contextlib.closing(local()) as connection:
        api = splink.DuckDBAPI(connection=connection)
        yield splink.Linker(
            api.register(sample, table_name="records"), model_settings, log_level=LOG_LEVEL, validate_settings=False
        )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
