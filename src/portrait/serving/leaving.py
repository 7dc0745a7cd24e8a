"""Callers who leave: what waits for its turn on behalf of one is given up, what has begun goes on to its end.

A queue says around its wait that the task may be given up there. Nothing is paid for where nobody waits.
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
    """Give up what a task waits for, now or at its next wait: whoever it works for has left."""
    if task.done():
        return
    if task not in _gone:
        _gone.add(task)
        task.add_done_callback(_gone.discard)
    if task in _waiting:
        task.cancel(_LEFT)


def has_left(task: "asyncio.Task[Any] | None") -> bool:
    """Tell whether whoever a task works for has left."""
    return task in _gone
