"""The API's documentation as one page, made from the OpenAPI document: no script, no address outside the server."""

import json
import re
from html import escape
from typing import Any

from portrait.api import errors as api_errors

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#2458d3}
@media(prefers-color-scheme:dark){:root{--accent:#8ab0ff}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.55 system-ui,sans-serif;display:grid;grid-template-columns:17rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.5rem;font-size:.875rem;
border-right:1px solid var(--line)}
nav ul{list-style:none;margin:0 0 1rem;padding:0}nav h2{font-size:.75rem;text-transform:uppercase;letter-spacing:.06em}
main{padding:2rem 3rem;max-width:60rem}a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
section{border-top:1px solid var(--line);padding:1.25rem 0}h3{margin:0 0 .25rem}
code,pre{font:.85rem/1.5 ui-monospace,monospace}
pre{background:var(--soft);padding:1rem;overflow:auto;border-radius:.4rem}
.verb{font-weight:700;color:var(--accent)}table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
details{margin:.5rem 0}summary{cursor:pointer}
@media(max-width:50rem){body{display:block}nav{position:static;height:auto}main{padding:1rem}}
"""


def page(document: dict[str, Any]) -> bytes:
    """Return the page of an OpenAPI document."""
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    index = "".join(
        f"<h2>{escape(tag)}</h2><ul>"
        + "".join(
            f'<li><a href="#{escape(one["operationId"])}">{escape(one["summary"])}</a></li>' for _, _, one in operations
        )
        + "</ul>"
        for tag, operations in by_tag.items()
    )
    body = "".join(_operation(*one) for operations in by_tag.values() for one in operations)
    schemas = "".join(
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
        f"<nav><strong>{escape(info['title'])} {escape(info['version'])}</strong>"
        f'<p><a href="/openapi.json">openapi.json</a> · <a href="#schemas">Schemas</a> · '
        f'<a href="#problems">Problems</a></p>{index}</nav>'
        f"<main><h1>{escape(info['title'])} API</h1><p>{escape(info['description'])}</p>{body}"
        f'<section id="schemas"><h2>Schemas</h2>{schemas}</section>{_problems()}</main></html>'
    ).encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    roles = operation.get("x-roles")
    who = f"Roles: {escape(', '.join(roles))}." if roles else "Needs no key."
    parts = [
        f'<section id="{escape(operation["operationId"])}"><h3>{escape(operation["summary"])}</h3>',
        f'<p><span class="verb">{method}</span> <code>{escape(path)}</code></p>',
        f"<p>{_prose(operation.get('description', ''))} {who}</p>",
    ]
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}"
            f"{', required' if one['required'] else ''}</td><td>{escape(one['description'])}</td></tr>"
            for one in operation["parameters"]
        )
        parts.append(f"<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>{rows}</table>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<details open><summary>Body, <code>{escape(kind)}</code></summary>")
        parts.append(f"{_json(content['example'])}</details>")
    for status, answer in operation["responses"].items():
        examples = [content["example"] for content in answer.get("content", {}).values() if "example" in content]
        shown = "".join(map(_json, examples))
        parts.append(
            f"<details{' open' if status < '300' else ''}><summary><code>{status}</code> "
            f"{escape(answer['description'])}</summary>{shown}</details>"
        )
    return "".join(parts) + "</section>"


def _problems() -> str:
    rows = "".join(
        f'<tr id="problem-{kind.code}"><td><code>{kind.code}</code></td><td>{api_errors.STATUSES[kind][0]}</td>'
        f"<td>{escape((kind.__doc__ or '').strip())}</td></tr>"
        for kind in api_errors.tree()
    )
    return (
        '<section id="problems"><h2>Problems</h2><p>Every error is <code>application/problem+json</code> (RFC 9457); '
        "its <code>code</code> is stable.</p><table><tr><th>Code</th><th>Status</th><th>Meaning</th></tr>"
        f"{rows}</table></section>"
    )


def _prose(text: str) -> str:
    """Return text with what stands in backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _json(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"
