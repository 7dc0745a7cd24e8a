"""Guards are found by their form, and each source without a guard still compiles."""

import ast
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

from mutants.__main__ import EXCEPTIONS
from mutants.find import BOUND, IDENTITY, KINDS, ROLE, TENANT, in_file, mutants
from mutants.near import NEAR, ROOT
from mutants.run import SOURCE


def guards(source, name="portrait/storage/x.py"):
    """Return the guards in a source: kind, text and replacement of each."""
    return [(mutant.kind, mutant.before, mutant.after) for mutant in in_file(name, dedent(source).encode())]


@pytest.mark.parametrize(
    "condition",
    [
        "tenant = $1", "tenant = ?", "tenant = ?2", "f.tenant = $1", "tenant IS ?", "tenant IS NOT DISTINCT FROM $2",
        "d.tenant = facts.tenant",
    ],
)  # fmt: skip
def test_a_condition_on_the_tenant_is_found_wherever_a_statement_has_it(condition):
    without = (TENANT, condition, f"({condition} OR 1=1)")
    for quoted in (
        f"SQL = 'SELECT \u00e9 FROM x WHERE {condition} AND y = 1'",
        f"SQL = f'{{X}} WHERE {condition}'",
        f"SQL = ('SELECT é FROM x' # é\n    ' WHERE y AND {condition}')",
    ):
        assert guards(quoted) == [without]
        (mutant,) = in_file("portrait/storage/x.py", quoted.encode())
        assert mutant.applied(quoted.encode()).decode() == quoted.replace(condition, without[2])
    assert guards(f"SQL = 'WHERE {condition}'", "portrait/api/x.py") == []


def test_a_tenants_own_row_is_found_by_its_id():
    assert guards("SQL = f'{_TENANT} WHERE id = $1'") == [(TENANT, "id = $1", "(id = $1 OR 1=1)")]


def test_the_conditions_of_a_statement_are_taken_away_singly():
    both = guards("SQL = 'SELECT 1 WHERE tenant = $1 UNION SELECT 2 WHERE tenant = $1'")
    assert len(both) == 2
    ids = {mutant.id for mutant in in_file("portrait/storage/x.py", b"SQL = 'tenant = $1 or tenant = $1'")}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("guard", "kind", "before", "after"),
    [
        ("if caller.role not in roles:\n    raise Other", ROLE, "caller.role not in roles", "False"),
        ("x = [one for one in all if role in one.roles]", ROLE, "role in one.roles", "True"),
        ("self._access.require(caller, READ)", ROLE, "self._access.require(caller, READ)", "None"),
        ("if a is None:\n    raise Unauthenticated('é')", ROLE, "a is None", "False"),
        ("if a and b:\n    raise TenantForbidden", TENANT, "a and b", "False"),
        ("if key.tenant != tenant_id:\n    return", TENANT, "key.tenant != tenant_id", "False"),
        ("if len(x) > MAX_X:\n    pass", BOUND, "len(x) > MAX_X", "False"),
        ("if MAX_X < len(x):\n    pass", BOUND, "MAX_X < len(x)", "False"),
        ("if 0 < len(x) <= MAX_X:\n    pass", BOUND, "0 < len(x) <= MAX_X", "True"),
        ("if len(body) > section.max_bytes:\n    pass", BOUND, "len(body) > section.max_bytes", "False"),
        ("f(HEAD_SECONDS)", BOUND, "HEAD_SECONDS", "10**12"),
        ("f(limit=2 * MAX_X)", BOUND, "MAX_X", "10**12"),
        ("if self._fed > limits.head_bytes:\n    pass", BOUND, "self._fed > limits.head_bytes", "False"),
        ("a[:MAX_X]", BOUND, "MAX_X", "10**12"),
        ("f(MOST)", BOUND, "MOST", "10**12"),
        ("if waiting >= self._most_waiting:\n    pass", BOUND, "waiting >= self._most_waiting", "False"),
    ],
)  # fmt: skip
def test_a_guard_is_found_by_its_form(guard, kind, before, after):
    assert guards(guard) == [(kind, before, after)]


@pytest.mark.parametrize(
    ("source", "without"),
    [
        ("if f(a):\n    return Reason.LIMIT, False", [("f(a)", "False")]),
        ("if a or b:\n    raise refused(Reason(status))", [("a", "False"), ("b", "False")]),
        ("x = Reason.LIMIT if a else None", [("a", "False")]),
        ("x = None if a else Reason(status)", [("a", "True")]),
        ("G = (*_H, (Reason.LIMIT, _Pass.a))", [("*_H", "*()"), ("(Reason.LIMIT, _Pass.a)", "*()")]),
        ("a = one.status not in FINAL", [("one.status not in FINAL", "True")]),
        ("Claim(settled=a and b)", [("a", "True"), ("b", "True")]),
        ("is_settled = a != b or c", [("a != b", "False"), ("c", "False")]),
        ("def stands(self):\n    return a and b", [("a", "True"), ("b", "True")]),
        ("self._retract(key)", [("self._retract(key)", "None")]),
    ],
)  # fmt: skip
def test_a_decision_on_identity_is_a_guard_where_identity_is_decided(source, without):
    assert guards(source, "portrait/writes/linking.py") == [(IDENTITY, *guard) for guard in without]
    assert guards(source, "portrait/api/identity.py") == []


@pytest.mark.parametrize(
    "other", ["if a:\n    return reason", "WORDS = {Reason.LIMIT: 'a'}", "x = (Reason.LIMIT, 'a')"]
)
def test_what_decides_on_no_identity_is_left_alone(other):
    assert guards(other, "portrait/writes/linking.py") == []


def test_a_condition_is_one_guard_of_one_kind():
    text = "if counted(a) > MAX_X:\n    raise refused(Reason.COMPONENT_CAP)"
    assert guards(text, "portrait/writes/linking.py") == [(BOUND, "counted(a) > MAX_X", "False")]


def test_each_part_of_a_refusal_is_a_guard():
    parts = guards("if a is None or b is None:\n    raise Unauthenticated")
    assert [before for _, before, _ in parts] == ["a is None", "b is None"]


def test_a_declaration_of_roles_is_widened_to_everybody():
    ((kind, before, after),) = guards("Operation(roles=WRITE)")
    assert (kind, before) == (ROLE, "WRITE")
    assert "viewer" in after


@pytest.mark.parametrize(
    "other", ["f(DEFAULT_LIMIT)", "x = f'{MAX_X}'", "MAX_X = 1", "if a == MAX_X:\n    pass", "if a:\n    raise Other",
     "if one.roles == READ:\n    pass", "known = 'tenant = $1' in sql"],
)  # fmt: skip
def test_what_is_no_guard_is_left_alone(other):
    assert guards(other) == []


def test_the_source_without_a_guard_still_compiles():
    every = mutants(SOURCE)
    assert {mutant.kind for mutant in every} == set(KINDS)
    assert len({mutant.id for mutant in every}) == len(every) > 150
    for mutant in every:
        source = (SOURCE / mutant.file).read_bytes()
        assert mutant.applied(source) != source
        ast.parse(mutant.applied(source))


def test_the_lookup_of_an_identifier_is_among_the_guards():
    functions = {(mutant.file, mutant.function) for mutant in mutants(SOURCE) if mutant.kind == TENANT}
    for place in (("postgres/reads.py", "PostgresReads.resolve"), ("sqlite/numbers.py", "Numbers.registered")):
        assert (f"portrait/storage/{place[0]}", place[1]) in functions


def test_every_exception_names_an_existing_guard_and_its_reason():
    ids = {mutant.id for mutant in mutants(SOURCE)}
    for id_, reason in tomllib.loads(EXCEPTIONS.read_text()).items():
        assert id_ in ids
        assert reason.strip()


def test_every_file_and_test_that_near_names_exists():
    for name, stages in NEAR.items():
        assert (SOURCE / name).exists()
        for word in (word for stage in stages for word in stage if word.startswith("tests/")):
            assert Path(ROOT, word).exists()
