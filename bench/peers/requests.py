"""HTTP/1.1 requests, whole."""

import json
from typing import Any


def get(path: str, **headers: str) -> bytes:
    """Return a GET; a header is given with underscores for hyphens."""
    return _request(f"GET {path}", {name.replace("_", "-"): value for name, value in headers.items()})


def post(path: str, body: Any) -> bytes:
    """Return a POST of JSON."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return _request(f"POST {path}", {"Content-Type": "application/json", "Content-Length": str(len(content))}) + content


def _request(start: str, headers: dict[str, str]) -> bytes:
    lines = [f"{start} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
