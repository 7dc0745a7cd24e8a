"""Probabilistic matching in batch: which records are of one person, by what they say.

It needs the extra `match`; nothing of it is imported before `match` is called. It knows tables of records and nothing
of where they are kept.
"""

from portrait.matching.choose import ChosenPair
from portrait.matching.model import COLUMNS
from portrait.matching.run import MatchingOutcome, Progress, Settings, match

__all__ = ["COLUMNS", "ChosenPair", "MatchingOutcome", "Progress", "Settings", "match"]
