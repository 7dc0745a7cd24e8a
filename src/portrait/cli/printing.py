"""What commands print, so that no stored value can do more to a terminal than be read."""

import re

import click

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
"""Characters that steer: control characters, those that end a line or turn its direction, and lone surrogates."""
_echo = click.echo  # noqa: TID251  # the one place that prints
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def plain(text: str) -> str:
    r"""Return a text in one line, with `\n`, `\x1b` or `\u202e` where a character would steer the terminal."""
    return _CONTROLS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def say(*cells: object, err: bool = False) -> None:
    """Print a line of cells with tabs between them: no cell ends the line or begins another cell."""
    _echo("\t".join(plain(str(cell)) for cell in cells), err=err)


def say_lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.split("\n"):
        say(line)


def say_again(text: str, *, last: bool) -> None:
    """Print a line on stderr over the line before; the last line stays."""
    _echo(f"\r{plain(text)}", nl=last, err=True)


def say_json(text: str) -> None:
    """Print JSON, its own line breaks kept: within its texts a character that steers is written as an escape."""
    _echo(_CONTROLS.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text))
