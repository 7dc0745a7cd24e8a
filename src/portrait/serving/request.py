"""Which request is being answered: so that a line of the log can name it, wherever it is written."""

from contextvars import Context, ContextVar

_answered: ContextVar[str | None] = ContextVar("portrait.serving.request", default=None)

NONE = Context()
"""The context of work that is no request's: to be called in it costs no copy of the present one."""


def answering(request_id: str) -> None:
    """Note that what this task does from here on answers a request."""
    _answered.set(request_id)


def current() -> str | None:
    """Return the id of the request that this task answers; None where it answers none, or several at once."""
    return _answered.get()


def concerning(tenant: str, request_id: str | None) -> str:
    """Return in words, for the log, whom something concerns: the tenant, and the request if there is one."""
    return f"tenant {tenant}" + (f", request {request_id}" if request_id else "")
