"""The service's log: lines that no logged text can forge."""

import logging
import sys
import threading
from typing import Any

from portrait.cli.printing import plain

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_log = logging.getLogger("portrait")


class Lines(logging.Formatter):
    """Writes a record in one line, and its traceback in indented lines below.

    Whatever the texts hold, an exception's too, a line that begins with a time begins a record, and no character steers
    the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # logging would print the arguments and their exception as they are
            message = "a message that does not fit its arguments"
        record.message = message.rstrip()
        record.asctime = self.formatTime(record, self.datefmt)
        more = [self.formatException(record.exc_info)] if record.exc_info else []
        more += [self.formatStack(record.stack_info)] if record.stack_info else []
        below = [f"    {plain(line)}" for text in more for line in text.split("\n")]
        return "\n".join([plain(self.formatMessage(record)), *below])


def config(level: str) -> dict[str, Any]:
    """Return the logging configuration of a process that serves, for `logging.config.dictConfig`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": Lines, "fmt": FORMAT}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        # At the level debug it writes the headers of answers, which hold what the sources have.
        "loggers": {"httpcore": {"level": "INFO"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
    }


def take_stray() -> None:
    """Have the log take what Python would print itself: warnings, and what threads and finalizers raise."""
    logging.captureWarnings(capture=True)
    threading.excepthook = _of_a_thread
    sys.unraisablehook = _of_a_finalizer


def _of_a_thread(args: Any) -> None:
    _log.error("a thread failed", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))


def _of_a_finalizer(args: Any) -> None:
    _log.error("an exception could not be raised", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))
