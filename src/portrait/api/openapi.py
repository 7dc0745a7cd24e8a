"""The OpenAPI document, made from the operations' declarations and the sections' schemas."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from portrait.api import errors as api_errors
from portrait.api.operation import Operation
from portrait.model import errors

_REF = "#/components/schemas/{name}"
_ALWAYS = (errors.Defect, errors.StorageFailed, errors.HostForbidden)
_GUARDED = (errors.Unauthenticated, errors.RoleForbidden, errors.TenantForbidden)
_WRITING = (errors.StorageBusy, errors.StorageFull, errors.ShuttingDown)


def build(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these operations."""
    types = list({type_: None for one in operations for type_ in _types(one)} | {api_errors.Problem: None})
    references, components = _plainly_named(*msgspec.json.schema_components(types, ref_template=_REF))
    schemas = _Schemas(dict(zip(types, references, strict=True)))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = schemas.operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Portrait",
            "version": version,
            "description": "Everything known about one customer, in one call.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
    }


def _plainly_named(references: Any, components: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return schemas with the names of generics as clients like them: `Page_…ListedRecord_…Segment__` as one word."""
    plain = {name: "".join(re.findall(r"(?:^|[._])([A-Z][A-Za-z0-9]*)", name)) for name in components}
    taken = Counter(plain.values())
    names = {name: short if short and taken[short] == 1 else name for name, short in plain.items()}

    def renamed(schema: Any) -> Any:
        if isinstance(schema, dict):
            return {
                key: _REF.format(name=names[value.rpartition("/")[2]]) if key == "$ref" else renamed(value)
                for key, value in schema.items()
            }
        return [renamed(value) for value in schema] if isinstance(schema, list | tuple) else schema

    return renamed(references), {names[name]: renamed(schema) for name, schema in components.items()}


class _Schemas:
    def __init__(self, references: dict[Any, Any]) -> None:
        self._references = references

    def operation(self, one: Operation) -> dict[str, Any]:
        parameters = [self._parameter(parameter) for parameter in one.parameters]
        if not one.public and one.needs_tenant:
            parameters.append(_TENANT)
        described: dict[str, Any] = {
            "operationId": one.id,
            "summary": one.summary,
            "tags": [one.tag],
            "parameters": parameters,
            "responses": {str(status): answer for status, answer in self._answers(one)},
        }
        if one.description:
            described["description"] = one.description
        if one.body is not None:
            described["requestBody"] = {
                "required": True,
                "content": {
                    kind: {"schema": self._resolved(schema), "example": one.body.examples[kind]}
                    for kind, schema in one.body.content.items()
                },
            }
        if not one.public:
            described["security"] = [{"bearer": []}, {"apiKey": []}]
            described["x-roles"] = sorted(one.roles)
        return described

    def _answers(self, one: Operation) -> Iterator[tuple[int, dict[str, Any]]]:
        success: dict[str, Any] = {
            "description": one.summary,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in {"X-Request-Id": "The request's id.", **one.headers}.items()
            },
        }
        if one.answer is not None:
            schema = one.answer if isinstance(one.answer, dict) else {"$type": one.answer}
            media = {"schema": self._resolved(schema)}
            success["content"] = {"application/json": media | ({"example": one.example} if one.example else {})}
        yield one.success, success
        for status, text in one.also.items():
            yield status, {"description": text}
        kinds: dict[type[errors.PortraitError], None] = dict.fromkeys((*_ALWAYS, *self._guards(one), *one.fails))
        for status, codes in sorted(api_errors.statuses_of(*kinds).items()):
            yield (
                status,
                {
                    "description": f"One of: {', '.join(codes)}",
                    "content": {
                        api_errors.MEDIA_TYPE: {"schema": self._resolved({"$type": api_errors.Problem})},
                    },
                },
            )

    @staticmethod
    def _guards(one: Operation) -> tuple[type[errors.PortraitError], ...]:
        writing = () if one.method == "GET" else _WRITING
        guarded = () if one.public else _GUARDED
        bound = (errors.TenantRequired, errors.InvalidParameter) if one.needs_tenant and not one.public else ()
        return (*writing, *guarded, *bound)

    @staticmethod
    def _parameter(parameter: Any) -> dict[str, Any]:
        described = {
            "name": parameter.name,
            "in": parameter.where,
            "description": parameter.description,
            "required": parameter.required,
            "schema": dict(parameter.schema),
        }
        return described | ({} if parameter.example is None else {"example": parameter.example})

    def _resolved(self, schema: Any) -> Any:
        """Return a schema with every type in it replaced by its reference."""
        if isinstance(schema, dict):
            if "$type" in schema:
                return self._references[schema["$type"]]
            return {name: self._resolved(value) for name, value in schema.items()}
        if isinstance(schema, list | tuple):
            return [self._resolved(value) for value in schema]
        return schema


_TENANT = {
    "name": "X-Tenant-Id",
    "in": "header",
    "description": "The tenant; may be left out where the key is bound to one.",
    "required": False,
    "schema": {"type": "string"},
    "example": "my-tenant",
}


def _types(one: Operation) -> Iterator[Any]:
    answer = one.answer if isinstance(one.answer, dict) or one.answer is None else {"$type": one.answer}
    for schema in (answer, *(one.body.content.values() if one.body else ())):
        yield from _types_in(schema)


def _types_in(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        if "$type" in schema:
            yield schema["$type"]
        for value in schema.values():
            yield from _types_in(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _types_in(value)
