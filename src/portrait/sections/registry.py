"""The registry: the sections of one service, in the order in which the full profile shows them."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from portrait.model.errors import PluginRefused, UnknownSection
from portrait.sections.base import MAX_SECTION_BYTES, ComputedSection, Section, StoredSection
from portrait.sections.declaration import build, declared_in, forget
from portrait.sections.links import LINKS

ENTRY_POINTS = "portrait.sections"
"""The entry-point group in which an installed package names its sections."""
BUILT_IN = ("identities", "interactions", "segments", "journeys", "experiments", "consent", "attributes")
RESERVED = frozenset({"unified-profile", LINKS.name})
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Registry:
    """Sections by name, in order of registration.

    Args:
        max_section_bytes: the most bytes of a customer's document, of every stored section.
    """

    def __init__(self, max_section_bytes: int = MAX_SECTION_BYTES) -> None:
        self._max_section_bytes = max_section_bytes
        self._sections: dict[str, StoredSection | ComputedSection] = {}

    def add_module(self, module: str, origin: str) -> None:
        """Register what a module declared, in its order.

        Raises:
            PluginRefused: it declared nothing, or what cannot be.
        """
        declarations = declared_in(module)
        if not declarations:
            raise PluginRefused(
                f"Plugin {origin} declares no section. Decorate a function or a Record class with "
                "@register_profile_section(...)."
            )
        for declaration in declarations:
            self.add(build(declaration, origin))

    def add(self, section: StoredSection | ComputedSection) -> None:
        """Register one section.

        Raises:
            PluginRefused: its name breaks the rule, is reserved or taken.
        """
        if not _NAME.fullmatch(section.name) or section.name in RESERVED:
            raise PluginRefused(
                f"{section.origin}: `{section.name}` cannot be a section's name. It must match "
                f"{_NAME.pattern} and not be {', '.join(sorted(RESERVED))}."
            )
        if taken := self._sections.get(section.name):
            raise PluginRefused(
                f"Two sections are called `{section.name}`: one from {taken.origin}, one from {section.origin}. "
                "Rename one of them or leave one out."
            )
        if isinstance(section, StoredSection):
            section = replace(section, max_bytes=self._max_section_bytes)
        self._sections[section.name] = section

    def __iter__(self) -> Iterator[StoredSection | ComputedSection]:
        return iter(self._sections.values())

    def names(self) -> list[str]:
        """Return all names, in order."""
        return list(self._sections)

    def get(self, name: str) -> Section:
        """Return a section by name.

        Raises:
            UnknownSection: no section is called so; the detail lists the names.
        """
        try:
            return self._sections[name]
        except KeyError:
            raise self.unknown() from None

    def find_stored(self, name: str) -> StoredSection | None:
        """Return a stored section by name, or None."""
        section = self._sections.get(name)
        return section if isinstance(section, StoredSection) else None

    def find_folded(self, name: str) -> StoredSection | None:
        """Return the section whose facts have this name: a stored one, or that of links; or None."""
        return LINKS if name == LINKS.name else self.find_stored(name)

    def stored(self, name: str) -> StoredSection:
        """Return a stored section by name.

        Raises:
            UnknownSection: no section is called so, or it is computed.
        """
        section = self.get(name)
        if not isinstance(section, StoredSection):
            raise UnknownSection("This section is computed at read time: it takes no records.")
        return section

    def all_stored(self) -> list[StoredSection]:
        """Return the stored sections, in order."""
        return [section for section in self if isinstance(section, StoredSection)]

    def unknown(self) -> UnknownSection:
        """Return the error that lists the names."""
        return UnknownSection(f"Unknown section. Valid names: {', '.join(self._sections)}.")


def load(
    plugins: Sequence[str] = (), *, installed: bool = True, max_section_bytes: int = MAX_SECTION_BYTES
) -> Registry:
    """Return the registry of a service: built-in sections, installed packages' sections, then the plugins given.

    Args:
        plugins: importable module names, or paths ending in `.py`.
        installed: whether to look through the entry-point group `portrait.sections`.
        max_section_bytes: the most bytes of a customer's document, of every stored section.

    Raises:
        PluginRefused: a plugin does not import or declares what cannot be.
    """
    registry = Registry(max_section_bytes)
    for name in BUILT_IN:
        module = f"portrait.sections.{name}"
        importlib.import_module(module)
        registry.add_module(module, module)
    if installed:
        for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
            origin = f"{point.value} (package {point.dist.name if point.dist else '?'})"
            registry.add_module(_import(point.module, origin).__name__, origin)
    for plugin in plugins:
        module = _import_file(Path(plugin)) if plugin.endswith(".py") else _import(plugin, plugin).__name__
        registry.add_module(module, plugin)
    return registry


def _import(module: str, origin: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise PluginRefused(f"Plugin {origin} does not import: {_fault(error)}") from error


def _import_file(path: Path) -> str:
    name = f"portrait_plugin_{re.sub(r'[^a-zA-Z0-9]', '_', str(path.absolute()))}"
    if not path.is_file():
        raise PluginRefused(f"Plugin {path} does not exist. Give a path to a .py file or a module's name.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginRefused(f"Plugin {path} is not a Python file.")
    forget(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginRefused(f"Plugin {path} does not import: {_fault(error)}") from error
    return name


def _fault(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
