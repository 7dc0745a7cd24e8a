"""Every setting, once: name, default, help.

Flags, `PORTRAIT_*` variables and a TOML file give values, in that order.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from portrait.model.errors import InvalidSetting
from portrait.model.urls import without_password

ENVIRONMENT_PREFIX = "PORTRAIT"
DEFAULT_FILE = "portrait.toml"


class Setting(NamedTuple):
    """One setting."""

    name: str
    default: Any
    help: str
    kind: type | tuple[str, ...] = str
    """A type, or the values that it may have."""
    least: float | None = None
    """The smallest value of a number."""
    many: bool = False
    """Whether it may be given several times; a list in TOML, separated by spaces in the environment."""

    @property
    def variable(self) -> str:
        """The environment variable that gives it."""
        return f"{ENVIRONMENT_PREFIX}_{self.name.upper()}"


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "database",
            "sqlite:///portrait.db",
            "The database: sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host/name.",
        ),
        Setting("plugin", (), "A plugin to load: a module's name or a path to a .py file. Repeatable.", many=True),
        Setting(
            "declared",
            (),
            "A TOML file that declares sources: sections over databases and HTTP services. Repeatable.",
            many=True,
        ),
        Setting("host", "127.0.0.1", "The address to serve on."),
        Setting("port", 8080, "The port to serve on; 0: any free port.", int, least=0),
        Setting(
            "auth",
            "keys",
            "Who may call: keys (whoever has a key), or open (everybody, as admin; loopback only).",
            ("keys", "open"),
        ),
        Setting("busy_seconds", 10.0, "How long a request waits for a lock or a connection, in seconds.", float, 0),
        Setting("pool_size", 10, "PostgreSQL: the most connections of one process.", int, least=1),
        Setting(
            "prepared",
            default=True,
            help="PostgreSQL: keep prepared statements; false behind PgBouncer in transaction mode.",
            kind=bool,
        ),
        Setting(
            "max_section_bytes",
            2**20,
            "The most bytes of a customer's section as JSON; a record that would exceed them is refused.",
            int,
            least=1024,
        ),
        Setting("workers", 1, "How many processes serve; each has its own connections to the database.", int, least=1),
        Setting(
            "connections",
            1000,
            "The most client connections of one process; further connections are refused.",
            int,
            least=1,
        ),
        Setting(
            "keep_alive_seconds",
            120.0,
            "How long an idle connection is kept, in seconds: longer than its client keeps it.",
            float,
            least=1,
        ),
        Setting(
            "refresh_seconds",
            60.0,
            "How often documents overtaken by time are rendered anew, in seconds.",
            float,
            least=1,
        ),
        Setting(
            "collect_url",
            "",
            "Where web pages reach this service, such as https://collect.shop.example: for clients that ask where to"
            " send. Where it is left out, these go by what stands in the page.",
        ),
        Setting("reject_days", 30.0, "For how many days events that were refused are kept.", float, least=0),
        Setting("log_level", "info", "The least severity that is logged.", ("debug", "info", "warning", "error")),
    )
}


def from_file(path: Path | None) -> dict[str, Any]:
    """Return the settings that a TOML file gives; no settings where no file is named and `portrait.toml` is not there.

    Raises:
        InvalidSetting: the file cannot be read, or names a setting that does not exist.
    """
    if path is None:
        path = Path(DEFAULT_FILE)
        if not path.is_file():
            return {}
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"The settings file {path} cannot be read: {error}.") from error
    for name, value in values.items():
        kind = SETTINGS[name].kind if name in SETTINGS else None
        wrong = isinstance(value, bool) or not isinstance(value, int) if kind is int else False
        if wrong or (kind is float and (isinstance(value, bool) or not isinstance(value, int | float))):
            what = "a whole number" if kind is int else "a number"
            raise InvalidSetting(f"The settings file {path}: {name} must be {what}.")
    unknown = values.keys() - SETTINGS.keys()
    if unknown:
        # A text that is no name may be anything, a database's URL too, and is not repeated.
        names = sorted(name for name in unknown if re.fullmatch(r"[A-Za-z_][\w-]{0,63}", name))
        named = ", ".join(names) or "an unknown setting"
        raise InvalidSetting(f"The settings file {path} names {named}. Settings are: {', '.join(SETTINGS)}.")
    return values


def check(values: Mapping[str, Any]) -> None:
    """Check the values of settings.

    Raises:
        InvalidSetting: a number is below the least that makes sense, or is not finite.
    """
    for name, value in values.items():
        least = SETTINGS[name].least if name in SETTINGS else None
        if least is not None and not (math.isfinite(value) and value >= least):
            raise InvalidSetting(f"The setting {name} must be a number, at least {least:g}.")


def engine_of(database: str) -> str:
    """Return which engine a database URL asks for: `sqlite` or `postgresql`.

    Raises:
        InvalidSetting: the text is no such URL.
    """
    scheme, separator, _ = database.partition("://")
    if not separator:
        # A text of another form may hold a password, and is not repeated.
        file = database if re.fullmatch(r"[\w./-]+", database) else "portrait.db"
        raise InvalidSetting(f"The database must be a URL. For a file, write sqlite:///{file}.")
    engine = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}.get(scheme)
    if engine is None:
        raise InvalidSetting("The database's URL must begin with sqlite:/// or postgresql://.")
    return engine


def sqlite_path(database: str) -> Path:
    """Return the file that a SQLite URL names.

    Raises:
        InvalidSetting: the URL names no file.
    """
    rest = database.partition("://")[2]
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path:
        raise InvalidSetting("The database must name a file: sqlite:///relative.db or sqlite:////absolute.db.")
    if path.startswith(":memory:"):
        raise InvalidSetting("A database in memory cannot be shared by reads and writes. Name a file.")
    return Path(path)


def described(values: Mapping[str, tuple[Any, str]]) -> list[tuple[str, str, str, str, str]]:
    """Return, for each setting, its name, value, where the value came from, default and meaning."""
    return [
        (name, _display(name, values[name][0]), values[name][1], _display(name, setting.default), setting.help)
        for name, setting in SETTINGS.items()
    ]


def _display(name: str, value: Any) -> str:
    if name == "database":
        return without_password(value)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
