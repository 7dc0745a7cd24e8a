"""From files to sections: every fault of a file is said at start, with the file and the key, and no secret."""

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from portrait.declared import address
from portrait.declared.json_path import JsonPath
from portrait.declared.names import Names, Question, fault_of
from portrait.declared.secret import Secret, SecretMissing
from portrait.declared.sql import statement
from portrait.declared.tables import HttpSpec, QuerySpec, SecretSpec, SourceSpec
from portrait.declared.url import UrlTemplate
from portrait.model.errors import InvalidSetting, SourceRefused
from portrait.sections.base import ComputedSection
from portrait.serving import distribution
from portrait.settings import sqlite_path

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te", "upgrade", "expect"}
)
"""Headers that the call itself sets."""
_SECRET_HEADER = re.compile(r"(?i)auth|cookie|token|key|secret|passw|signature")
_ENGINES = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}
_PASSWORDS = frozenset({"password", "passfile", "sslpassword"})


def load(paths: Sequence[str], *, secrets: bool = True) -> list[ComputedSection]:
    """Return the sections that files declare, in their order.

    Args:
        paths: TOML files.
        secrets: whether the secrets that they name must be there.

    Raises:
        SourceRefused: a file cannot be read, or declares what cannot be; or a library is not installed.
    """
    return [section for path in paths for section in _sections(path, secrets=secrets)]


def _sections(path: str, *, secrets: bool) -> Iterator[ComputedSection]:
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceRefused(f"The file of declared sources {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        where = re.search(r"\(at [^()]*\)", str(error))
        raise SourceRefused(
            f"The file of declared sources {path} is no TOML{f' {where[0]}' if where else ''}."
        ) from None
    tables = content.get("sections")
    if content.keys() != {"sections"} or not isinstance(tables, dict) or not tables:
        raise SourceRefused(f"The file of declared sources {path} must have tables [sections.NAME], and nothing else.")
    for name, table in tables.items():
        with _faults_of(path, name):
            yield _Section(path, name, table).made(secrets=secrets)


@contextmanager
def _faults_of(path: str, name: str) -> Iterator[None]:
    """Have a fault name the file and the section."""
    try:
        yield
    except ValueError as fault:
        # A name of another form may be anything, and is not repeated.
        shown = name if re.fullmatch(r"[\w-]{1,64}", name) else "…"
        raise SourceRefused(f"{path}, [sections.{shown}]: {fault}.") from None


@contextmanager
def _key(name: str) -> Iterator[None]:
    """Have a fault begin with the key that it is about."""
    try:
        yield
    except ValueError as fault:
        raise ValueError(f"{name} {fault}") from None


class _Section:
    """One table on its way to a section. Whatever is wrong is a ValueError, whose text goes on from the section."""

    def __init__(self, path: str, name: str, table: Any) -> None:
        self._path = path
        self._name = name
        self._table = _converted(table)
        self._tenants = None if self._table.tenants is None else frozenset(self._table.tenants)
        self._names = Names(self._table.identifiers)
        self._secrets: list[tuple[str, Secret]] = []

    def made(self, *, secrets: bool) -> ComputedSection:
        """Return the section."""
        table = self._table
        function, end = self._of_query(table.query) if table.query else self._of_http(table.http)
        for key, secret in self._secrets if secrets else ():
            try:
                secret.read()
            except SecretMissing as error:
                raise ValueError(f"{key}: {error}") from None
        return ComputedSection(
            name=self._name,
            description=table.description,
            origin=self._path,
            roles=frozenset(table.roles),
            default=table.default,
            function=function,
            timeout=table.timeout,
            cache_seconds=table.cache_seconds,
            breaker=(table.breaker.failures, table.breaker.seconds),
            ended=end,
        )

    def _of_query(self, table: QuerySpec) -> tuple[Callable[..., Any], Any]:
        with _key("query.database"):
            engine = _engine(table.database)
        with _key("query.sql"):
            asked = statement(table.sql, engine)
            question = self._question(asked.names, several=True)
        password = None if table.password is None else self._secret("query.password", table.password)
        if engine == "sqlite":
            from portrait.declared.sqlite_source import SqliteSource  # noqa: PLC0415  # only where it is asked for

            if password is not None:
                raise ValueError("query.password is for a server; a file has none")
            with _key("query.database:"):
                path = _sqlite_file(table.database)
            return SqliteSource(question, path, asked, table.rows, self._table.timeout).ask, None
        try:
            from portrait.declared.postgres_source import PostgresSource  # noqa: PLC0415  # its driver is an extra
        except ImportError:
            raise ValueError(f"needs PostgreSQL's driver. Install it: {distribution.command_for('postgres')}") from None
        database = PostgresSource(question, table.database, password, asked, table.rows, self._table.timeout)
        return database.ask, database.end

    def _of_http(self, table: HttpSpec | None) -> tuple[Callable[..., Any], Any]:
        assert table is not None  # its form was checked
        with _key("http.url"):
            url = UrlTemplate(table.url)
            if url.scheme == "http" and not table.allow_http:
                raise ValueError("must begin with https://; http is sent in the clear: allow_http = true allows it")
            question = self._question(url.names, several=False)
        with _key("http.allow_private:"):
            allowed = address.networks(table.allow_private)
        headers = {name: self._header(name, value) for name, value in table.headers.items()}
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("http.headers has one header twice")
        with _key("http.records"):
            records = None if table.records is None else JsonPath(table.records)
        fields = None if table.fields is None else {name: _field(name, text) for name, text in table.fields.items()}
        try:
            from portrait.declared.http_source import HttpSource, trust  # noqa: PLC0415  # its library is an extra
        except ImportError:
            raise ValueError(f"needs a library for HTTP. Install it: {distribution.command_for('http')}") from None
        if url.scheme == "https":
            trust()  # it takes longer than many a deadline
        source = HttpSource(
            question, url, headers, records, fields, table.not_found, allowed, table.max_bytes, self._table.timeout
        )
        return source.ask, source.end

    def _question(self, names: Sequence[str], *, several: bool) -> Question:
        for name in names:
            if fault := self._names.fault(name, several=several):
                raise ValueError(fault)
        if fault := fault_of(names, self._tenants):
            raise ValueError(fault)
        return Question(tuple(names), self._tenants)

    def _header(self, name: str, value: str | SecretSpec) -> str | Secret:
        if not _HEADER.fullmatch(name):
            raise ValueError("http.headers has a name that no header has")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"http.headers.{name} is set by the call itself")
        if isinstance(value, SecretSpec):
            return self._secret(f"http.headers.{name}", value)
        if _SECRET_HEADER.search(name):
            raise ValueError(
                f'http.headers.{name} must be {{ env = "…" }} or {{ file = "…" }}, never the secret itself'
            )
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"http.headers.{name} must be one line of printable ASCII")
        return value

    def _secret(self, key: str, table: SecretSpec) -> Secret:
        if (table.env is None) == (table.file is None):
            raise ValueError(f'{key} must be either {{ env = "…" }} or {{ file = "…" }}')
        if not (table.prefix.isascii() and (table.prefix.isprintable())):
            raise ValueError(f"{key}.prefix must be printable ASCII")
        secret = Secret(table.env, table.file, table.prefix)
        self._secrets.append((key, secret))
        return secret


def _converted(table: Any) -> SourceSpec:
    query = table.get("query") if isinstance(table, dict) else None
    if isinstance(query, dict) and "password" in query and not isinstance(query["password"], dict):
        raise ValueError('query.password must be { env = "…" } or { file = "…" }, never the password itself')
    try:
        converted = msgspec.convert(table, SourceSpec)
    except msgspec.ValidationError as error:
        # The library names the place and the types, and of a value nothing but what a choice lacks.
        text, _, place = re.sub(r" '[^']*'$", "", str(error)).partition(" - at `$.")
        text = re.sub(r"^Invalid enum value .*", "is none of the values that it may have", text)
        raise ValueError(f"{place.rstrip('`')}: {text}" if place else text) from None
    if (converted.query is None) == (converted.http is None):
        raise ValueError("must have either a table `query` or a table `http`")
    return converted


def _field(name: str, text: str) -> JsonPath:
    with _key(f"http.fields.{name}"):
        path = JsonPath(text)
        if not path.is_single:
            raise ValueError("must lead to one value, without [*]")
        return path


def _engine(url: str) -> Any:
    scheme, separator, _ = url.partition("://")
    engine = _ENGINES.get(scheme) if separator else None
    if engine is None:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if engine == "postgresql":
        try:
            parts = urlsplit(url)
            literal = bool(parts.password) or any(name in _PASSWORDS for name, _ in parse_qsl(parts.query))
        except ValueError:
            raise ValueError("is no URL such as postgresql://user@host/name") from None
        if literal:
            raise ValueError('holds a password: leave it out and write password = { env = "…" } or { file = "…" }')
    return engine


def _sqlite_file(url: str) -> Path:
    try:
        return sqlite_path(url)
    except InvalidSetting as error:
        raise ValueError(error.detail.rstrip(".")) from None
