"""URLs of databases, as they may be shown."""

import re

_SERVER = r"(?:\[[\w:.%]*\]|(?:[\w.-]|%2[Ff])*)(?::PORT)?"
_ADDRESS = rf"{_SERVER}(?:,{_SERVER})*(?:/[^@&;=\s]*)?"
"""One server or several, with their ports, and a database's name."""
_ENDS = re.compile(r"[:@;=&%\s]")
"""Characters that may stand before a password."""


def without_password(database: str) -> str:
    """Return a database's URL as it may be shown: without its password and its options, however oddly written.

    A URL in which a password may stand elsewhere is shown only up to there.
    """
    scheme, separator, rest = database.partition("://")
    if not separator:
        return "(no URL)"
    if scheme == "sqlite":
        return database
    before, _, options = rest.partition("?")
    login, at, address = rest.rpartition("@")
    address = address.partition("?")[0]
    # Behind a login an invalid port can be shown; without a login it may be a password.
    usual = re.fullmatch(_ADDRESS.replace("PORT", r"[-\w]{0,5}" if at else r"\d{1,5}"), address)
    if "@" in options or usual is None:
        login, at, address = before, "", ""
    return f"{scheme}://{_ENDS.split(login, maxsplit=1)[0]}{at}{address}"
