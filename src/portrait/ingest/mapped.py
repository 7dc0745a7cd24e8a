"""A mapping and the table that it is for, as one value that can be sent to another process."""

import msgspec

from portrait.mapping.language import Mapping
from portrait.mapping.plan import RowPlan
from portrait.mapping.planning import plan_of
from portrait.model import time
from portrait.sections.registry import Registry


class MappedTable(msgspec.Struct, frozen=True):
    """All that the plan of a table is made of, but for the sections."""

    mapping: Mapping
    columns: tuple[str, ...] | None
    """The table's columns; None: each row names its own."""
    file: str
    """The name of the table's file, without folders."""
    exported: int | None
    """The moment of the export, in microseconds; None: the mapping may say it."""
    types: tuple[str, ...]
    """The types of identifiers that the tenant knows."""

    def plan(self, registry: Registry) -> RowPlan:
        """Return what makes lines of the table's rows.

        Raises:
            InvalidMapping: the mapping does not fit; the detail says all that is wrong.
        """
        exported = None if self.exported is None else time.to_datetime(self.exported)
        return plan_of(self.mapping, registry, self.columns, self.file, exported, self.types)
