"""The composition root: settings to store, store to services, services to the web application."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from portrait import settings
from portrait.access.service import Access, Mode
from portrait.api.access import AccessResources
from portrait.api.application import Application
from portrait.api.bulk import Bulk
from portrait.api.collect import Collecting
from portrait.api.collecting_rules import CollectingRulesResource
from portrait.api.customers import Customers
from portrait.api.health import Health
from portrait.api.identity import IdentityResource
from portrait.api.lookup import Lookup
from portrait.api.operation import Operation
from portrait.api.profile import Profiles
from portrait.api.records import Records
from portrait.api.rejects import RejectResource
from portrait.collecting.collector import Collector
from portrait.collecting.limits import KeyLimits
from portrait.collecting.rejects import Rejects
from portrait.computed import Computed, Reports
from portrait.declared import load as load_declared
from portrait.maintenance.service import Upkeep
from portrait.model.errors import InvalidSetting, Unavailable
from portrait.model.time import Clock, system_clock
from portrait.projection import Overtaken
from portrait.reads.identity import Explainer
from portrait.reads.lists import Lists
from portrait.reads.owners import Owners
from portrait.reads.profiles import Reader
from portrait.sections import registry as section_registry
from portrait.sections.base import MAX_SECTION_BYTES
from portrait.sections.registry import Registry
from portrait.serving import distribution
from portrait.serving.admission import Admission
from portrait.storage import sqlite
from portrait.storage.contract import Store
from portrait.writes.identities import Identities
from portrait.writes.match_links import Matches
from portrait.writes.record_writer import RecordWriter
from portrait.writes.recording import Recorder
from portrait.writes.rekeying import Rekeying
from portrait.writes.tenant_rules import TenantRules


class Resource(Protocol):
    """What contributes operations to the web application."""

    def operations(self) -> Sequence[Operation]:
        """Return the operations' declarations."""
        ...


_log = logging.getLogger("portrait")


@dataclass(frozen=True)
class Services:
    """Everything that a command or the web application works with, over one open database."""

    store: Store
    registry: Registry
    clock: Clock
    access: Access
    recorder: Recorder
    collector: Collector
    rejects: Rejects
    reader: Reader
    lists: Lists
    owners: Owners
    identities: Identities
    rules: TenantRules
    explainer: Explainer
    matches: Matches
    rekeying: Rekeying
    upkeep: Upkeep
    computed: Computed

    async def close(self) -> None:
        """Let go of the database, after the writes that were accepted."""
        self.computed.close()
        await self.access.close()
        await self.store.close()


def build(
    database: str,
    *,
    plugins: Sequence[str] = (),
    declared: Sequence[str] = (),
    secrets: bool = False,
    auth: Mode = "keys",
    busy_seconds: float = 10.0,
    pool_size: int = 10,
    prepared: bool = True,
    max_section_bytes: int = MAX_SECTION_BYTES,
    clock: Clock = system_clock,
    upgrade: bool | None = None,
    create: bool = True,
    reading: bool = False,
    progress: sqlite.Progress | None = None,
    installed: bool = True,
) -> Services:
    """Return the services over a database.

    Args:
        database: its URL.
        plugins: modules and files to load sections from.
        declared: files that declare sources.
        secrets: whether the secrets that these name must be there; where not, such a section fails by itself.
        auth: who is let in.
        busy_seconds: how long a request waits for a lock or a connection.
        pool_size: PostgreSQL: the most connections.
        prepared: PostgreSQL: whether statements are kept prepared.
        max_section_bytes: the most bytes of a customer's document, of every stored section.
        clock: what time it is.
        upgrade: whether an older schema is brought forward or refused; None: as is usual for the engine.
        create: SQLite: whether a file that is not there is made; refused where not.
        reading: whether an older schema will do, where it is not brought forward: nothing may be written then.
        progress: SQLite: is told how far bringing a schema forward is.
        installed: whether installed packages' sections are loaded.

    Raises:
        StartRefused: a plugin, a declared source, a setting or the database cannot be used.
    """
    registry = section_registry.load(plugins, installed=installed, max_section_bytes=max_section_bytes)
    for section in load_declared(declared, secrets=secrets):
        registry.add(section)
    store: Store
    if settings.engine_of(database) == "sqlite":
        path = settings.sqlite_path(database)
        store = sqlite.open_store(
            path, patience=busy_seconds, upgrade=upgrade, create=create, reading=reading, progress=progress
        )
    else:
        store = _postgres().open_store(
            database,
            size=pool_size,
            patience=busy_seconds,
            prepared=prepared,
            upgrade=upgrade is True,
            reading=reading,
        )
    reports = Reports()
    computed = Computed(reports, max_section_bytes)
    overtaken = Overtaken()
    writer = RecordWriter(clock, registry.all_stored())
    recorder = Recorder(store, writer, patience=busy_seconds)
    collector = Collector(store, recorder, registry, clock)
    return Services(
        store=store,
        registry=registry,
        clock=clock,
        access=Access(store, clock, auth),
        recorder=recorder,
        collector=collector,
        rejects=Rejects(store, collector, clock),
        reader=Reader(store, registry, clock, computed, overtaken, reports),
        lists=Lists(store, clock, reports),
        owners=Owners(store),
        identities=Identities(store, registry, clock, writer),
        rules=TenantRules(store),
        explainer=Explainer(store, registry, clock),
        matches=Matches(store, registry, clock),
        rekeying=Rekeying(store, registry, clock),
        upkeep=Upkeep(store, registry, clock, overtaken),
        computed=computed,
    )


async def distribute(database: str, shards: int) -> list[str]:
    """Distribute a database's tables over its Citus cluster; return those that were not distributed before.

    Raises:
        StartRefused: it is no database of such a cluster, or its tables cannot be distributed.
    """
    if settings.engine_of(database) == "sqlite":
        raise InvalidSetting("An SQLite file cannot be distributed. Name a PostgreSQL database with Citus.")
    done: list[str] = await _postgres().distribute(database, shards)
    return done


def rewrite(database: str) -> sqlite.Rewrite | None:
    """Return what an upgrade takes that writes a database anew; None where it does not.

    Raises:
        StartRefused: there is too little room for it.
    """
    return sqlite.rewrite(settings.sqlite_path(database)) if settings.engine_of(database) == "sqlite" else None


def backup(database: str, copy: Path, busy_seconds: float) -> None:
    """Write a copy of a database file; a service may go on writing.

    Raises:
        StartRefused: the database is no file, or cannot be copied there.
    """
    sqlite.backup(_file_of(database), copy, patience=busy_seconds)


def restore(database: str, copy: Path) -> Path | None:
    """Put a copy in the place of a database file that nobody has open; return where the old file is kept.

    Raises:
        StartRefused: the database is no file or in use, or the copy cannot serve.
    """
    return sqlite.restore(_file_of(database), copy)


def _file_of(database: str) -> Path:
    if settings.engine_of(database) != "sqlite":
        raise InvalidSetting(
            "Back PostgreSQL up with its own tools: pg_dump and pg_restore, or pg_basebackup with an archive."
        )
    return settings.sqlite_path(database)


def _postgres() -> ModuleType:
    """Return the PostgreSQL engine, whose driver is an extra."""
    try:
        from portrait.storage import postgres  # noqa: PLC0415  # only where it is asked for
    except ImportError as error:
        command = distribution.command_for("postgres")
        raise InvalidSetting(f"PostgreSQL needs its driver. Install it: {command}") from error
    return postgres


def application(
    services: Services, *, refresh_seconds: float = 60.0, collect_url: str | None = None, reject_days: float = 30.0
) -> Application:
    """Return the web application over these services; its end closes them."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        refreshing = asyncio.create_task(_refresh(services, refresh_seconds, reject_days))
        try:
            yield
        finally:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing
            await services.close()

    profiles = Profiles(services.access, services.reader, services.registry, services.clock)
    resources: tuple[Resource, ...] = (
        profiles,
        *(Records(section, services.recorder, services.lists) for section in services.registry.all_stored()),
        Bulk(services.recorder, services.registry),
        Customers(services.lists),
        IdentityResource(
            services.owners, services.identities, services.rules, services.explainer, services.access, services.registry
        ),
        Lookup(services.owners, services.reader, services.registry, services.clock),
        AccessResources(services.access),
        RejectResource(services.rejects),
        CollectingRulesResource(services.collector),
        Health(services.store),
    )
    operations = [operation for resource in resources for operation in resource.operations()]
    admission = Admission(lambda: services.store.is_crowded)
    collecting = Collecting(services.access, services.collector, admission, KeyLimits(), collect_url)
    version = distribution.version()
    return Application(operations, profiles, services.access, admission, collecting, version=version, lifespan=lifespan)


async def _refresh(services: Services, seconds: float, reject_days: float) -> None:
    """At intervals render documents anew that time has overtaken, and let go of old refused events; no read waits."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await services.upkeep.refresh()
            await services.rejects.expire(reject_days)
        except Unavailable as error:
            _log.warning("documents were not refreshed; trying again: %s", error.detail)
        except Exception:  # noqa: BLE001  # whatever it is, the next round may do better
            _log.exception("documents were not refreshed; trying again")
