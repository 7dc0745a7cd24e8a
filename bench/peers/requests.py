"""HTTP/1.1 requests, whole."""

import json
from typing import Any


def get(path: str, **headers: str) -> bytes:
    """Return a GET; a header is given with underscores for hyphens."""
    return _request(f"GET {path}", _hyphened(headers))


def post(path: str, body: Any) -> bytes:
    """Return a POST of JSON."""
    return post_text(path, json.dumps(body, separators=(",", ":")).encode())


def post_text(path: str, body: bytes, **headers: str) -> bytes:
    """Return a POST of a text of JSON; headers as of a GET."""
    length = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return _request(f"POST {path}", {**_hyphened(headers), **length}) + body


def _hyphened(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _request(start: str, headers: dict[str, str]) -> bytes:
    lines = [f"{start} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
