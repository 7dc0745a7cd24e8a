"""What sections' own code raised, for the operator's log: the first of each section, not one for each record."""

import logging

from portrait.model.errors import PortraitError, SectionFailed
from portrait.serving import request

_log = logging.getLogger("portrait.sections")


class Failures:
    """Logs failures of sections within one request or transaction.

    Args:
        tenant: whose records they are.
        request_id: the request that is answered; None: there is none, or there are several.
    """

    def __init__(self, tenant: str, request_id: str | None) -> None:
        self._concerning = request.concerning(tenant, request_id)
        self._logged: set[str | None] = set()

    def log(self, error: PortraitError) -> None:
        """Log what a section's own code raised, with its traceback, unless that section has failed here before."""
        if isinstance(error, SectionFailed) and error.section not in self._logged:
            self._logged.add(error.section)
            _log.warning("section %s failed (%s)", error.section, self._concerning, exc_info=error.__cause__)
