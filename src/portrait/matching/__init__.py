"""Probabilistic matching in batch: which records are of one person, by what they say.

It needs the extra `match`; nothing of it is imported before `match` is called. It knows tables of records and nothing
of where they are kept.
"""

from portrait.matching.choose import Candidate
from portrait.matching.model import COLUMNS
from portrait.matching.run import Outcome, Progress, Settings, match

__all__ = ["COLUMNS", "Candidate", "Outcome", "Progress", "Settings", "match"]
