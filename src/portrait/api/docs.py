"""The service's own pages, made from the OpenAPI document: where to begin, and the API's documentation."""

from html import escape
from typing import Any

from portrait.api import errors as api_errors
from portrait.api.html import HtmlPage, code, page, prose
from portrait.api.openapi import AUTHENTICATION

_STYLE = """
body{display:grid;grid-template-columns:17rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.5rem;font-size:.875rem;
border-right:1px solid var(--line)}
nav ul{list-style:none;margin:0 0 1rem;padding:0}nav h2{font-size:.75rem;text-transform:uppercase;letter-spacing:.06em}
section{border-top:1px solid var(--line);padding:1.25rem 0}h3{margin:0 0 .25rem}
.verb{font-weight:700;color:var(--accent)}table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
details{margin:.5rem 0}summary{cursor:pointer}
@media(max-width:50rem){body{display:block}nav{position:static;height:auto}main{padding:1rem}}
"""
_VARIABLES = """export PORTRAIT=http://127.0.0.1:8080  # where this service is
export KEY=portrait_…                  # a key of a tenant's admin
export PLATFORM_KEY=portrait_…         # for the operations on tenants: a key of the platform's"""


def start(document: dict[str, Any]) -> HtmlPage:
    """Return the page for a reader who begins here and knows only the address."""
    info = document["info"]
    first = document["paths"]["/api/v1/customers/{customerId}/unified-profile"]["get"]["x-codeSamples"][0]["source"]
    body = (
        f"<main><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        "<p>Everything known about one customer, in one call.</p><ul>"
        '<li><a href="/docs">The API</a>: every operation, with an example that works</li>'
        '<li><a href="/openapi.json">openapi.json</a>: the same for programs</li>'
        '<li><a href="/health/ready">/health/ready</a>: whether the service can answer</li></ul>'
        f"<h2>Authentication</h2><p>{prose(AUTHENTICATION)}</p>{code(_VARIABLES)}"
        f"<h2>A profile</h2>{code(first)}</main>"
    )
    return page(info["title"], body)


def reference(document: dict[str, Any]) -> HtmlPage:
    """Return the page of an OpenAPI document."""
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    index = "".join(
        f"<h2>{escape(tag)}</h2><ul>"
        + "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{escape(operation["summary"])}</a></li>'
            for _, _, operation in operations
        )
        + "</ul>"
        for tag, operations in by_tag.items()
    )
    body = "".join(_operation(*route) for operations in by_tag.values() for route in operations)
    schemas = "".join(
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>{code(schema)}</details>'
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    info = document["info"]
    return page(
        f"{info['title']} API",
        f"<nav><strong>{escape(info['title'])} {escape(info['version'])}</strong>"
        f'<p><a href="/openapi.json">openapi.json</a> · <a href="#authentication">Authentication</a> · '
        f'<a href="#schemas">Schemas</a> · <a href="#problems">Problems</a></p>{index}</nav>'
        f"<main><h1>{escape(info['title'])} API</h1><p>Everything known about one customer, in one call.</p>"
        f'<section id="authentication"><h2>Authentication</h2><p>{prose(AUTHENTICATION)}</p>'
        "<p>The examples work on the sample that <code>portrait demo</code> loads, and as they are where these are "
        f"set:</p>{code(_VARIABLES)}</section>{body}"
        f'<section id="schemas"><h2>Schemas</h2>{schemas}</section>{_problems()}</main>',
        _STYLE,
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    roles = operation.get("x-roles")
    who = f"Roles: {escape(', '.join(roles))}." if roles else "Needs no key."
    parts = [
        f'<section id="{escape(operation["operationId"])}"><h3>{escape(operation["summary"])}</h3>',
        f'<p><span class="verb">{method}</span> <code>{escape(path)}</code></p>',
        f"<p>{prose(operation.get('description', ''))} {who}</p>",
    ]
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}"
            f"{', required' if parameter['required'] else ''}</td><td>{escape(parameter['description'])}</td></tr>"
            for parameter in operation["parameters"]
        )
        parts.append(f"<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>{rows}</table>")
    for sample in operation["x-codeSamples"]:
        label = f", <code>{escape(sample['label'])}</code>" if sample["label"] else ""
        parts.append(f"<details open><summary>Example{label}</summary>{code(sample['source'])}</details>")
    for status, answer in operation["responses"].items():
        examples = [content["example"] for content in answer.get("content", {}).values() if "example" in content]
        examples_html = "".join(map(code, examples))
        parts.append(
            f"<details{' open' if status < '300' else ''}><summary><code>{status}</code> "
            f"{escape(answer['description'])}</summary>{examples_html}</details>"
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
