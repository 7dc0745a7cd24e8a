"""How many connections a process has descriptors for."""

import contextlib
import logging
import sys

from portrait.model.errors import InvalidSetting

if sys.platform != "win32":
    import resource

OWN = 64
"""Descriptors for other things than connections: the database, the log, the loop."""
EACH = 2
"""Descriptors for a connection: itself, and a file that holds a large body."""
BACKLOG = 2048
"""The system keeps so many clients waiting until they are taken, and they are taken in one go."""

_log = logging.getLogger("portrait.connections")


def room_for(connections: int) -> int:
    """Return for how many connections there is room, up to those asked for; the limit is raised as far as it may be.

    Raises:
        InvalidSetting: there is room for no connection.
    """
    if sys.platform == "win32":  # no such limit there
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OWN + EACH * connections + BACKLOG
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # some systems have a limit below the one that they name
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    room = connections if soft == resource.RLIM_INFINITY else min(connections, (soft - OWN) // EACH)
    if room < 1:
        raise InvalidSetting(f"The limit of open files is {soft}. Raise it, to {OWN + EACH * connections} at best.")
    if room < connections:
        _log.warning(
            "a process takes %d connections at once, not %d: the limit of open files is %d, %d would be enough",
            room, connections, soft, OWN + EACH * connections,
        )  # fmt: skip
    return room
