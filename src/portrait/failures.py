"""What sections' own code raised, for the operator's log: the first of each section, not one for each record."""

import logging

from portrait.model.errors import PortraitError, SectionFailed

_log = logging.getLogger("portrait.sections")


class Failures:
    """Logs failures of sections within one request or transaction."""

    def __init__(self) -> None:
        self._logged: set[str | None] = set()

    def log(self, error: PortraitError) -> None:
        """Log what a section's own code raised, with its traceback, unless that section has failed here before."""
        if isinstance(error, SectionFailed) and error.section not in self._logged:
            self._logged.add(error.section)
            _log.warning("section %s failed", error.section, exc_info=error.__cause__)
