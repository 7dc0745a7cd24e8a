"""What is measured together: each group starts its servers, names its probes, and is gone before the next."""

from collections.abc import Callable
from contextlib import ExitStack

from bench.groups import (
    appends,
    bulk,
    collecting,
    history,
    large,
    merging,
    overload,
    profile,
    resolving,
    start,
    tables,
    workers,
)
from bench.measure import Probe
from bench.workshop import Workshop

Group = Callable[[Workshop, ExitStack], list[Probe]]

GROUPS: tuple[Group, ...] = (
    start.probes, profile.probes, history.probes, merging.probes, workers.probes, appends.probes, bulk.probes,
    tables.probes, collecting.probes, resolving.probes, overload.probes, large.probes,
)  # fmt: skip
