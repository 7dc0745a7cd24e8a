"""A command for each operation, as documentation shows it: whoever pastes it calls the operation.

Three variables stand for what differs: `$PORTRAIT`, where the service is, and the keys `$KEY` and `$PLATFORM_KEY`.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from portrait.access.service import PLATFORM_ONLY
from portrait.api.operation import Example, Operation, Step

TENANT = "my-tenant"
_JSON = "application/json"
_KEYED = ('-H "Authorization: Bearer $KEY"', f'-H "X-Tenant-Id: {TENANT}"')
_PLATFORM = ('-H "Authorization: Bearer $PLATFORM_KEY"',)


def samples(operation: Operation) -> list[dict[str, str]]:
    """Return the commands of an operation, each with what it is called."""
    return [{"lang": "Shell", "label": label, "source": "\n".join(lines)} for label, lines in _samples(operation)]


def _samples(operation: Operation) -> Iterator[tuple[str, list[str]]]:
    address, first = _address(operation)
    if operation.body is None:
        yield "", [*first, _called(operation, address)]
        return
    for kind, example in operation.body.examples.items():
        named = operation.body.named if kind == _JSON else {}
        for label, body_example in (
            named or {kind if len(operation.body.examples) > 1 else "": Example(example)}
        ).items():
            before = [_stepped(step) for step in body_example.first]
            yield label, [*first, *before, _called(operation, address, *_sent(kind, body_example.value))]


def _address(operation: Operation) -> tuple[str, list[str]]:
    """Return where an operation is called, and the commands that find out what its path names."""
    first: list[str] = []
    path = operation.path
    for parameter in operation.parameters:
        if parameter.where == "path":
            value = quote(str(parameter.example), safe="")
            if parameter.answer_field is not None:
                step, field = parameter.answer_field
                read = f"""grep -o '"{field}":"[^"]*"' | head -n 1 | cut -d '"' -f 4"""
                first.append(f"{parameter.name}=$({_stepped(step)} | {read})")
                value = f"${parameter.name}"
            path = path.replace(f"{{{parameter.name}}}", value)
    query = {
        parameter.name: parameter.example
        for parameter in operation.parameters
        if parameter.where == "query" and parameter.required
    }
    return path + (f"?{urlencode(query)}" if query else ""), first


def _stepped(step: Step) -> str:
    return _curl(step.path, *_KEYED, *(() if step.body is None else _sent(_JSON, step.body)))


def _called(operation: Operation, address: str, *sent: str) -> str:
    method = () if operation.method == ("POST" if sent else "GET") else (f"-X {operation.method}",)
    who = () if operation.public else _PLATFORM if operation.roles == PLATFORM_ONLY else _KEYED
    return _curl(address, *method, *who, *sent)


def _sent(kind: str, body: Any) -> tuple[str, ...]:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    option = "-d" if kind == _JSON else "--data-binary"
    return f'-H "Content-Type: {kind}"', f"{option} {shlex.quote(text)}"


def _curl(address: str, *options: str) -> str:
    return " \\\n  ".join((f'curl -s "$PORTRAIT{address}"', *options))
