"""Reports on sections for the operator: sparing ones, since what fails once often fails at every request."""

import logging
import time

from portrait.serving import request

EVERY_SECONDS = 60.0
"""How long after a report the next of its kind waits, in seconds."""
MAX_KINDS = 1000

_log = logging.getLogger("portrait.sections")


class Reports:
    """Logs each kind of trouble of each section once a minute, with how often it came since."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def warn(self, section: str, tenant: str, kind: str, text: str, error: BaseException | None = None) -> None:
        """Log what is wrong with a section, unless the same was logged just now.

        Args:
            section: the section's name.
            tenant: at whose customer it showed.
            kind: tells one trouble from another.
            text: what is wrong.
            error: what a plugin raised. It may hold personal data: it is for the operator's log alone.
        """
        now = time.monotonic()
        until, unsaid = self._kinds.get((section, kind), (0.0, 0))
        if now < until:
            self._kinds[section, kind] = until, unsaid + 1
            return
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        self._kinds[section, kind] = now + EVERY_SECONDS, 0
        since = f"; {unsaid} times more since it was logged last" if unsaid else ""
        whom = request.concerning(tenant, request.current())
        _log.warning("section %s %s (%s)%s", section, text, whom, since, exc_info=error)
