"""The page on identity agrees with the code."""

import re

import pytest

from docs.identity import PATHS, SEVERAL, link_records
from docs.pages import DOCS
from portrait.identity.confidence import CAP, combined
from portrait.identity.rules import Reason
from portrait.sections import registry
from portrait.writes.linking import refused

PAGE = DOCS / "explanation" / "identity.md"


def test_the_worked_examples_are_the_formula_by_hand():
    """With odds instead of logarithms: with even prior odds they multiply."""
    for evidence in SEVERAL:
        if len(evidence) == 1 or max(confidence for _, confidence in evidence) == 1:
            continue
        odds = 1.0
        for _, confidence in evidence:
            capped = min(confidence, CAP)
            odds *= capped / (1 - capped)
        assert combined(link_records(evidence), 0) == pytest.approx(odds / (1 + odds), abs=1e-6)
    assert f"no more than {CAP} and no less than {1 - CAP:g}" in PAGE.read_text()


def test_the_second_example_has_a_longer_way_that_is_weaker():
    """Otherwise the example would not show that the widest path counts."""
    by_ends = {(a.type, b.type): combined(link_records(evidence), 0) for a, b, evidence in PATHS}
    over_email = min(by_ends["customer_id", "email"], by_ends["email", "device_id"])
    over_phone = min(by_ends["customer_id", "phone"], by_ends["phone", "device_id"])
    assert over_email < over_phone
    product = by_ends["customer_id", "phone"] * by_ends["phone", "device_id"]
    assert f"{product:.2f}" in PAGE.read_text(), "the page says what the product would be"


def test_the_page_says_how_each_kind_of_refusal_is_answered():
    text = (
        PAGE.read_text().partition("## Why a link is refused")[2].partition("- **An action**")[2].partition("\n## ")[0]
    )
    for reason in Reason:
        error = refused(reason)
        assert f"`{error.code}`" in text, f"{reason} is answered with {error.code}, which the page does not name"


def test_the_page_says_what_each_section_does_with_two_histories():
    part = PAGE.read_text().partition("## Two histories")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \|", part, re.MULTILINE)
    assert rows[1:] == [section.name for section in registry.load(installed=False)]
