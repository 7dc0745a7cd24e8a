"""Numbers of names on SQLite: right however many there are, and no more of them remembered than may be."""

import pytest

from portrait.model.identifier import customer
from portrait.storage.conformance.support import TENANT, append, fact
from portrait.storage.contract import FactsAsked
from portrait.storage.sqlite import numbers


@pytest.fixture
def few(monkeypatch):
    """Let a connection remember three names."""
    monkeypatch.setattr(numbers, "MAX_NAMES", 3)


async def test_sources_of_any_number_are_read_and_the_names_of_few_are_remembered(store, few):
    sections = [f"section-{number}" for number in range(20)]
    facts = [
        fact(customer("c"), number, section=section, source=f"of {section}") for number, section in enumerate(sections)
    ]
    await append(store, *facts)
    for one in facts:
        asked = FactsAsked(one.identifier, one.section, one.key, None)
        assert (await store.known(TENANT, [asked]))[asked] == [one]
        assert len(store._numbers._names) <= numbers.MAX_NAMES + 2
