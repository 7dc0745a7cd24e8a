"""A request, as far as events and keys may stand in it."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl


class SentRequest(NamedTuple):
    """What a client sends."""

    body: bytes
    headers: Mapping[str, str] = {}
    """By name, in lower case."""
    query_string: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query; of several with one name the first counts, and what is no text is mended."""
        pairs = parse_qsl(self.query_string.decode("ascii", "replace"), keep_blank_values=True, errors="replace")
        return dict(reversed(pairs))

    @property
    def media_type(self) -> str:
        """What the body is, in lower case and without options; empty where the client does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()
