"""Several profiles in one answer: each costs once, and all together are bounded in time, bytes and memory."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from portrait.computed import Deadlines
from portrait.model.errors import AnswerTooLarge, CustomerNotFound
from portrait.reads.profiles import Loaded, Plan, ProfileAnswer, Reader

T = TypeVar("T")

MAX_ANSWER_BYTES = 16 * 2**20
"""The most bytes that the profiles of one answer have together."""
LOADED_AT_ONCE = 4
"""How many profiles are read beside each other: what one request takes of the database's connections."""
COMPUTED_AT_ONCE = 24
"""How many profiles have their sections computed beside each other: fewer than a section's calls, which others make
too."""


class ProfileAsked(NamedTuple):
    """Which profile is asked for."""

    customer_id: str
    plan: Plan


Outcome = ProfileAnswer | CustomerNotFound | AnswerTooLarge


async def profiles(reader: Reader, tenant: str, asked: Sequence[ProfileAsked], most: int) -> list[Outcome]:
    """Return the profiles asked for, or what keeps each from being shown, in order.

    What is asked for twice is read once. A section's deadline counts for all profiles together. Once the profiles have
    as many bytes as they may, no more is read, and the remaining profiles are left out.

    Args:
        reader: reads profiles.
        tenant: the tenant.
        asked: the profiles asked for.
        most: the most bytes of all profiles together.

    Raises:
        Unavailable: the database does not answer.
    """
    several = _Several(reader, tenant, most)
    wanted = {(question.customer_id, question.plan.identity): question for question in asked}
    outcomes = dict(zip(wanted, await several.read(list(wanted.values())), strict=True))
    size = 0
    answered: list[Outcome] = []
    for question in asked:
        outcome = outcomes[question.customer_id, question.plan.identity]
        if isinstance(outcome, ProfileAnswer):
            size += outcome.size
        answered.append(_too_large(most) if isinstance(outcome, ProfileAnswer) and size > most else outcome)
    return answered


class _Several:
    def __init__(self, reader: Reader, tenant: str, most: int) -> None:
        self._reader = reader
        self._tenant = tenant
        self._most = most
        self._deadlines = Deadlines()
        self._slots = asyncio.Semaphore(COMPUTED_AT_ONCE)
        self._size = 0

    async def read(self, asked: Sequence[ProfileAsked]) -> list[Outcome]:
        """Return profiles in order; profiles after the last that has room may be left out."""
        loaded: list[Loaded | CustomerNotFound] = []
        size = 0
        while len(loaded) < len(asked) and size < self._most:
            batch = await _all(self._load(question) for question in asked[len(loaded) : len(loaded) + LOADED_AT_ONCE])
            size += sum(outcome.profile.size for outcome in batch if isinstance(outcome, Loaded))
            loaded += batch
            await asyncio.sleep(0)  # reading from SQLite gives nobody a turn
        completed = await _all(self._complete(question, each) for question, each in zip(asked, loaded, strict=False))
        return [*completed, *(_too_large(self._most) for _ in asked[len(loaded) :])]

    async def _load(self, question: ProfileAsked) -> Loaded | CustomerNotFound:
        try:
            return await self._reader.load(self._tenant, question.customer_id, question.plan)
        except CustomerNotFound as error:
            return error

    async def _complete(self, question: ProfileAsked, loaded: Loaded | CustomerNotFound) -> Outcome:
        if not isinstance(loaded, Loaded):
            return loaded
        if not question.plan.computed:
            return loaded.profile
        async with self._slots:
            # They begin in order: what has ended comes before this one in the answer, and leaves it no room.
            if self._size >= self._most:
                return _too_large(self._most)
            profile = await self._reader.complete(loaded, question.plan, self._deadlines)
        self._size += profile.size
        return profile


async def _all(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of works, run beside each other; where one raises, the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _too_large(most: int) -> AnswerTooLarge:
    return AnswerTooLarge(
        f"The profiles before this one use up the {most} bytes of one answer. Request this profile separately."
    )
