"""A subject that serves while a group is measured, and the loads that are sent to it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Generic, TypeVar

from bench.load import Plan, Result, fire
from bench.process import Failure, Server, ask, cores, free_port
from bench.subject import Subject
from bench.workshop import Workshop

S = TypeVar("S", bound=Subject)
CHECKED = 25
"""How many answers of each subject are looked at in full before it is measured."""


class Serving(Generic[S]):
    """A subject's server: started and checked when first wanted, stopped with the stack."""

    def __init__(
        self,
        workshop: Workshop,
        stack: ExitStack,
        make: Callable[[], S],
        *,
        command: Callable[[S, int], tuple[list[str], dict[str, str]]] = lambda subject, port: subject.command(port),
        pinned: set[int] | None = None,
    ) -> None:
        self._workshop = workshop
        self._stack = stack
        self._make = make
        self._command = command
        self._pinned = pinned or {cores().server}

    @cached_property
    def subject(self) -> S:
        """The subject, its database filled."""
        return self._make()

    @cached_property
    def server(self) -> Server:
        """The server.

        Raises:
            Failure, ValueError: it does not start, or does not answer as it should.
        """
        subject, port = self.subject, free_port()
        log = self._workshop.directory / "servers.log"
        server = self._stack.enter_context(Server(*self._command(subject, port), port, log, self._pinned))
        server.wait(subject.request(0))
        for index in range(min(CHECKED, self._workshop.options.customers)):
            status, _, body = ask(port, subject.request(index))
            if status not in {200, 201}:
                raise Failure(f"{subject.name} answers with status {status}")
            subject.check(index, body)
        return server

    def start(self) -> None:
        """Start the server, if it was not.

        Raises:
            Failure, ValueError: as above.
        """
        _ = self.server

    def fire(self, requests: Sequence[bytes], **plan: Any) -> Result:
        """Send requests, for as long and on as many connections as the run's options say, unless the plan does."""
        options = self._workshop.options
        usual = {"connections": options.connections, "seconds": options.seconds, "warmup": options.warmup}
        return fire(Plan(port=self.server.port, requests=list(requests), core=cores().load, **{**usual, **plan}))
