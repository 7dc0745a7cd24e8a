"""The command line: thin. Each command parses its words, calls a service and prints."""

import sys

import click

from portrait.cli import access, collecting, db, identity, info, load, rejects, serve, show
from portrait.cli.options import CommandGroup
from portrait.cli.printing import say
from portrait.model.errors import PortraitError
from portrait.serving import distribution


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(dir_okay=False), help="A TOML file with settings. [default: portrait.toml]")
@click.version_option(package_name=distribution.NAME)
def cli(config: str | None) -> None:
    """Everything known about one customer, in one call."""
    del config  # read by CommandGroup, before any command's own options


for _command in (
    serve.serve, serve.demo, load.load, show.show, access.tenant, access.key, identity.identity,
    collecting.collecting, rejects.rejects, db.db,
    info.sections, info.settings
):  # fmt: skip
    cli.add_command(_command)


def main() -> None:
    """Run the command line; what Portrait refuses is one line on stderr and exit code 1."""
    try:
        cli(prog_name="portrait")
    except PortraitError as error:
        say(f"portrait: {error.detail}", err=True)
        sys.exit(1)
