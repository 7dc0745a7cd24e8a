"""Ranks: how much a record's source counted under the tenant's rules when the record was told.

A rule changes, and what follows from facts must not change with it: so the rank stands in the fact, last in its body,
beside the fields of the record. The service sets it. Its sender cannot, since no schema has the field; and nobody is
shown it, since bodies become records without it.
"""

import re

from portrait.identity.rules import UNRANKED

FIELD = "rank"
"""No section whose records are kept with their ranks has a field of this name."""
_RANK = re.compile(rb',"rank":(\d+)\}\Z')


def with_rank(body: bytes, rank: int) -> bytes:
    """Return the body of a record with its source's rank, which is left out where no rule gives one."""
    return body if rank == UNRANKED else b'%b,"%b":%d}' % (body[:-1], FIELD.encode(), rank)


def without_rank(body: bytes) -> bytes:
    """Return a body as it was before `with_rank`."""
    found = _RANK.search(body)
    return body if found is None else body[: found.start()] + b"}"


def rank_of(body: bytes) -> int:
    """Return the rank that a record's source had when it was told; of two sources that of the lower rank is preferred.

    Args:
        body: the record as an entry of a state has it, in a section whose records are kept with their ranks.
    """
    found = _RANK.search(body)
    return UNRANKED if found is None else int(found[1])
