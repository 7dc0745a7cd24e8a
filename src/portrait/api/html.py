"""Pages that the service shows: no script, no address outside the server, and a policy that holds browsers to that."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from typing import Any, NamedTuple

_COMMON = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#2458d3}
@media(prefers-color-scheme:dark){:root{--accent:#8ab0ff}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.55 system-ui,sans-serif}
main{padding:2rem 3rem;max-width:60rem}a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
code,pre{font:.85rem/1.5 ui-monospace,monospace}
pre{background:var(--soft);padding:1rem;overflow:auto;border-radius:.4rem}
"""


class HtmlPage(NamedTuple):
    """A page as it is sent."""

    headers: Mapping[str, str]
    content: bytes


def page(title: str, body: str, style: str = "") -> HtmlPage:
    """Return a page.

    Args:
        title: its title, as text.
        body: what it shows, as HTML.
        style: rules of its own.
    """
    rules = _COMMON + style
    allowed = b64encode(sha256(rules.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
    }
    content = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{rules}</style>{body}</html>"
    )
    return HtmlPage(headers, content.encode())


def prose(text: str) -> str:
    """Return text as HTML, with what stands in backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def code(value: Any) -> str:
    """Return a text, or a value as JSON, as HTML that keeps its lines."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"
