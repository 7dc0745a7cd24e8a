"""`portrait sections` and `portrait settings`."""

from typing import Any

import click
from click.core import ParameterSource

from portrait.cli.options import takes
from portrait.cli.printing import say
from portrait.declared import load as load_declared
from portrait.sections import registry
from portrait.sections.base import StoredSection
from portrait.settings import SETTINGS, described

_SOURCES = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
}


@click.command()
@takes("plugin", "declared")
def sections(plugin: tuple[str, ...], declared: tuple[str, ...]) -> None:
    """List the sections of a profile: name, kind, roles, where from, meaning."""
    known = registry.load(plugin)
    for source in load_declared(declared, secrets=False):
        known.add(source)
    for section in known:
        kind = section.kind if isinstance(section, StoredSection) else f"computed, {section.timeout:g} s"
        visibility = "" if section.default else ", by name only"
        say(section.name, f"{kind}{visibility}", ",".join(sorted(section.roles)), section.origin, section.description)


@click.command()
@takes(*SETTINGS)
@click.pass_context
def settings(ctx: click.Context, /, **values: Any) -> None:
    """Print every setting with its value, where that came from, its default and its meaning."""
    sources = {
        name: _SOURCES.get(ctx.get_parameter_source(name) or ParameterSource.DEFAULT, "default") for name in SETTINGS
    }
    for name, value, source, default, meaning in described({name: (values[name], sources[name]) for name in SETTINGS}):
        say(f"{name} = {value}")
        say(f"    {source}; default {default or 'none'}; {SETTINGS[name].variable}")
        say(f"    {meaning}")
