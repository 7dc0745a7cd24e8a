"""URLs with names in them: each value becomes a part of one path segment or one query value, and nothing else."""

import re
from urllib.parse import quote

_WHOLE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[/?#].*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
_SECRET = re.compile(r"(?i)(?:^|[?&])[^=&]*(?:secret|token|passw|api_?-?key|signature)[^=&]*=")
_PORTS = {"http": 80, "https": 443}
_DOTS = re.compile(r"(?i)(?:\.|%2e){1,2}")


class UrlTemplate:
    """A URL with `{name}` in its path or query.

    Args:
        text: as the file has it.

    Raises:
        ValueError: it is no such URL. The text says what is wrong and repeats nothing of it.
    """

    def __init__(self, text: str) -> None:
        whole = _WHOLE.fullmatch(text)
        if whole is None:
            raise ValueError("must begin with https:// and the name of a host")
        if "@" in whole["authority"]:
            raise ValueError("holds a user or password: give these as a header, with { env = … } or { file = … }")
        authority = _AUTHORITY.fullmatch(whole["authority"])
        if authority is None:
            raise ValueError("must name a host in ASCII (xn--… where it has other letters), and no value in it")
        target = whole["target"] or "/"
        if "#" in target:
            raise ValueError("has a part behind #, which is never sent")
        self.scheme = whole["scheme"]
        self.host = authority["host"].strip("[]").lower()
        self.port = int(authority["port"] or _PORTS[self.scheme])
        if not 0 < self.port < 65_536:
            raise ValueError("has a port that is none: 1 to 65535")
        self.header = whole["authority"].lower()
        """The value of the header Host."""
        pieces = _NAME.split(target if target.startswith("/") else f"/{target}")
        self._literals, self.names = pieces[::2], tuple(dict.fromkeys(pieces[1::2]))
        self._pieces = pieces
        if not all(_LITERAL.fullmatch(literal) for literal in self._literals):
            raise ValueError("has a character that no URL has, or a brace alone: write values as {name}")
        if _SECRET.search("{}".join(self._literals).partition("?")[2]):
            raise ValueError("has a secret in its query: give it as a header, with { env = … } or { file = … }")
        if any(_DOTS.fullmatch(segment) for segment in self._segments("".join(pieces))):
            raise ValueError("has a path segment of dots alone")

    def target(self, values: dict[str, str]) -> str:
        """Return path and query with the values in their places.

        Raises:
            ValueError: a value alone would be a path segment of dots, which servers take for another path.
        """
        filled = "".join(
            quote(values[piece], safe="") if index % 2 else piece for index, piece in enumerate(self._pieces)
        )
        if any(_DOTS.fullmatch(segment) for segment in self._segments(filled)):
            raise ValueError("a value of dots alone stands for another path")
        return filled

    @staticmethod
    def _segments(target: str) -> list[str]:
        return target.partition("?")[0].split("/")
