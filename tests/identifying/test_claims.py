"""Claims as they are stored: which are decided on anew, and which stay as they were decided."""

import msgspec
import pytest

from portrait.identity.graph import LINKED
from portrait.identity.rules import DEFAULT, Reason, Rule
from portrait.model.identifier import Identifier, customer
from portrait.writes.claims import NEW, Word

A, E = customer("A"), Identifier("email", "e@example.org")
STORED = Word(
    A, E, ("A", "e@example.org"), "crm", Rule.RECORD, 1.0, 1, 1, timed=True, status=LINKED, policy=DEFAULT.name
)


@pytest.mark.parametrize("status", [LINKED, Reason.UNIQUE_TYPE.value])
@pytest.mark.parametrize(
    ("changes", "known", "is_settled"),
    [
        ({}, {A, E}, False),
        ({}, {A}, True),
        ({}, {E}, True),
        ({}, set(), True),
        ({"policy": "earlier"}, {A, E}, True),
        ({"policy": "earlier", "follows": True}, {A, E}, False),
        ({"follows": True}, {A}, True),
    ],
)
def test_a_claim_stays_as_decided_under_earlier_rules_or_with_an_end_that_is_not_known(
    status, changes, known, is_settled
):
    word = msgspec.structs.replace(STORED, status=status, **changes)
    assert word.claim(DEFAULT, known).settled == is_settled


def test_a_claim_that_was_never_decided_on_is_decided_on():
    assert not msgspec.structs.replace(STORED, status=NEW).claim(DEFAULT, set()).settled
