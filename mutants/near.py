"""Where to look first for a test that fails: by the place of the guard, quick tests before slow."""

import re
from pathlib import Path

from mutants.find import BOUND_NAME

ROOT = Path(__file__).parents[1]
Stage = tuple[str, ...]
"""What one run of pytest is told."""

_SQLITE = "not postgres"
_ALONE = (
    "of_one_tenant_alone or for_one_tenant_alone or for_it_alone or without_rows or another_tenant or pages_are_filled"
    " or descend or listed_of or come_back or only_its_own or rules_are or no_others"
)
"""The cases that are about tenants."""
_AT_RANDOM = "tests/identifying/test_machine.py", "tests/identifying/test_order.py"
_IDENTIFYING: tuple[Stage, ...] = (
    ("tests/identifying", "tests/api/test_identity.py", "-k", _SQLITE, *(f"--ignore={file}" for file in _AT_RANDOM)),
    (*_AT_RANDOM, "-k", _SQLITE),
)
"""A test that says what it tries comes before those that try anything."""
NEAR: dict[str, tuple[Stage, ...]] = {
    "portrait/storage/sqlite/": (
        ("tests/storage/test_conformance.py", "-k", f"sqlite and ({_ALONE})"),
        ("tests/storage/test_guards.py", "-k", "file"),
        ("tests/storage/test_conformance.py", "-k", "sqlite"),
        ("tests/api/test_isolation.py", "-k", _SQLITE),
        ("tests/storage/", "-k", _SQLITE, "--ignore=tests/storage/test_citus.py"),
    ),
    "portrait/storage/sqlite/writer.py": (("tests/storage/test_writer.py",),),
    "portrait/storage/postgres/": (
        (
            "tests/storage/test_postgres.py",
            "-k",
            "tenant_alone or for_it_alone or without_rows or descend or listed_of or no_others",
        ),
        ("tests/storage/test_guards.py",),
        ("tests/storage/test_postgres.py", "tests/storage/test_gathered.py"),
        ("tests/api/test_isolation.py", "-k", "postgres"),
        ("tests/storage/test_pool.py", "tests/storage/test_alike.py"),
    ),
    "portrait/access/": (
        ("tests/contract/test_decided_access.py", "-k", "tenant or credential or role"),
        ("tests/api/test_access.py", "-k", "not bytes and not machine"),
        ("tests/api/test_minting.py", "tests/api/test_isolation.py", "-k", _SQLITE),
        ("tests/api/test_overload.py", "-k", "key"),
    ),
    "portrait/api/access.py": (("tests/api/test_minting.py", "-k", _SQLITE),),
    "portrait/api/connections.py": (("tests/api/test_connections.py", "tests/api/test_overload.py"),),
    "portrait/api/guarded.py": (("tests/api/test_guarded.py", "tests/api/test_connections.py"),),
    "portrait/api/bulk.py": (
        ("tests/api/test_access.py", "-k", "declared"),
        ("tests/contract/test_writing.py", "tests/contract/test_records.py", "-k", _SQLITE),
    ),
    "portrait/api/": (
        ("tests/api/test_access.py", "-k", "declared or no_wrong or no_other_name"),
        ("tests/api/test_bounds.py", "-k", _SQLITE),
        ("tests/api", "tests/contract", "-k", f"{_SQLITE} and not schemathesis and not real_server"),
        ("tests/api",),
    ),
    "portrait/identity/": (("tests/identity",), *_IDENTIFYING),
    "portrait/ingest/": (
        ("tests/contract", "tests/api/test_bad_input.py", "-k", _SQLITE),
        ("tests/recording", "tests/cli"),
    ),
    "portrait/model/": (("tests/contract", "tests/api/test_bad_input.py", "tests/identity", "-k", _SQLITE),),
    "portrait/cli/": (("tests/cli",), ("tests/api/test_real_server.py", "-k", "stop")),
    "portrait/computed/": (("tests/plugins",),),
    "portrait/declared/": (("tests/declared", "-k", _SQLITE), ("tests/declared",)),
    "portrait/writes/linking.py": _IDENTIFYING,
    "portrait/writes/neighbourhood.py": _IDENTIFYING,
    "portrait/writes/regrouping.py": _IDENTIFYING,
    "portrait/writes/claims.py": _IDENTIFYING,
    "portrait/serving/admission.py": (("tests/admission",), ("tests/api/test_overload.py",)),
    "portrait/writes/group_commit.py": (("tests/recording/test_grouping.py",),),
    "portrait/writes/ending.py": (("tests/recording/test_ending.py", "-k", _SQLITE),),
    "portrait/writes/repetition.py": (("tests/contract/test_records.py", "tests/recording", "-k", _SQLITE),),
    "portrait/writes/judging.py": (("tests/recording/test_alone.py", "-k", _SQLITE),),
    "portrait/projection.py": (("tests/recording/test_alone.py", "-k", _SQLITE),),
    "portrait/writes/unit_of_work.py": (("tests/recording", "-k", _SQLITE),),
    "portrait/writes/recording.py": (("tests/recording", "tests/contract/test_records.py", "-k", _SQLITE),),
    "portrait/": (
        ("tests/contract", "tests/recording", "tests/plugins", "tests/identifying", "-k", _SQLITE),
        ("tests/api", "tests/cli", "-k", _SQLITE),
    ),
}
"""Of each folder or file of the source the runs of tests, in their order. The longest name that fits counts first."""


def stages(file: str, guard: str) -> list[Stage]:
    """Return the runs of tests that are made for a guard of a file, in their order.

    Tests that name the guard's constant come first, most often to set a small bound.
    """
    bounds = [name for name in re.findall(r"[A-Za-z_]\w+", guard) if BOUND_NAME.fullmatch(name)]
    naming = sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent.name != "mutants" and any(re.search(rf"\b{name}\b", path.read_text()) for name in bounds)
    )
    first: list[Stage] = [(path, "-k", _SQLITE) for path in naming]
    names = sorted((name for name in NEAR if file.startswith(name)), key=len, reverse=True)
    return [*first, *(stage for name in names for stage in NEAR[name])]
