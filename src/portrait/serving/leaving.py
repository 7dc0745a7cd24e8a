"""Callers who leave: a task that waits for its turn for such a caller is given up, a task that has begun goes on.

A queue marks its wait: only there may a task be given up. Where nobody waits, this costs nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_waiting: "set[asyncio.Task[Any]]" = set()
_gone: "set[asyncio.Task[Any]]" = set()
_LEFT = "the caller has left"


class Left(asyncio.CancelledError):
    """Nobody waits for the answer any more, so nothing was begun for it."""


@contextmanager
def may_leave() -> Iterator[None]:
    """Wait inside: the task is given up there when its caller leaves, or has left before.

    Raises:
        Left: the caller has left.
    """
    task = asyncio.current_task()
    assert task is not None
    if task in _gone:
        raise Left(_LEFT)
    _waiting.add(task)
    try:
        yield
    except asyncio.CancelledError as error:
        if task in _gone and error.args == (_LEFT,):
            task.uncancel()
            raise Left(_LEFT) from None
        raise
    finally:
        _waiting.discard(task)


def leave(task: "asyncio.Task[Any]") -> None:
    """Give a task up where it waits, now or at its next wait: its caller has left."""
    if task.done():
        return
    if task not in _gone:
        _gone.add(task)
        task.add_done_callback(_gone.discard)
    if task in _waiting:
        task.cancel(_LEFT)


def has_left(task: "asyncio.Task[Any] | None") -> bool:
    """Tell whether the caller that a task works for has left."""
    return task in _gone
