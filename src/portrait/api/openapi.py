"""The OpenAPI document, made from the operations' declarations and the sections' schemas."""

from collections.abc import Iterator, Sequence
from typing import Any

from portrait.api import errors as api_errors
from portrait.api.operation import Body, Operation
from portrait.api.samples import samples
from portrait.api.schemas import Schemas
from portrait.model import errors

AUTHENTICATION = (
    "Every operation except the health probes needs an API key: `Authorization: Bearer <key>`, or `X-API-Key: <key>`. "
    "`portrait key create --tenant my-tenant --role admin` makes one. A tenant's key is bound to its tenant; with a "
    "platform key `X-Tenant-Id` names the tenant. Without a valid key the answer is 401; it is 403 if the key's "
    "role does not permit the operation. A service started with `--auth open`, such as the demo, accepts "
    "every caller on its machine: it needs no key, and `X-Tenant-Id` names the tenant."
)
_PROBLEM = {"$type": api_errors.Problem}
_ALWAYS = (errors.Defect, errors.StorageFailed, errors.HostForbidden)
_GUARDED = (errors.Unauthenticated, errors.RoleForbidden, errors.TenantForbidden)
_WRITING = (errors.StorageBusy, errors.StorageFull, errors.ShuttingDown)


def build(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these operations."""
    bodies = [schema for operation in operations if operation.body for schema in operation.body.content.values()]
    schemas = Schemas([_PROBLEM, *(operation.answer_schema for operation in operations)], bodies)
    described = _Described(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = described.operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Portrait",
            "version": version,
            "description": f"Everything known about one customer, in one call. {AUTHENTICATION}",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": AUTHENTICATION},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
    }


class _Described:
    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def operation(self, operation: Operation) -> dict[str, Any]:
        parameters = [self._parameter(parameter) for parameter in operation.parameters]
        if not operation.public and operation.needs_tenant:
            parameters.append(_TENANT)
        described: dict[str, Any] = {
            "operationId": operation.id,
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": parameters,
            "responses": {str(status): answer for status, answer in self._answers(operation)},
        }
        if operation.description:
            described["description"] = operation.description
        if operation.body is not None:
            described["requestBody"] = {
                "required": True,
                "content": {
                    kind: {"schema": self._schemas.body(schema), **self._examples(operation.body, kind)}
                    for kind, schema in operation.body.content.items()
                },
            }
        if not operation.public:
            described["security"] = [{"bearer": []}, {"apiKey": []}]
            described["x-roles"] = sorted(operation.roles)
        described["x-codeSamples"] = samples(operation)
        return described

    @staticmethod
    def _examples(body: Body, kind: str) -> dict[str, Any]:
        if body.named and kind == "application/json":
            return {"examples": {name: {"value": example.value} for name, example in body.named.items()}}
        return {"example": body.examples[kind]}

    def _answers(self, operation: Operation) -> Iterator[tuple[int, dict[str, Any]]]:
        success: dict[str, Any] = {
            "description": operation.summary,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in {"X-Request-Id": "The request's id.", **operation.headers}.items()
            },
        }
        if operation.answer_schema is not None:
            media = {"schema": self._schemas.answer(operation.answer_schema)}
            success["content"] = {
                "application/json": media | ({"example": operation.example} if operation.example else {})
            }
        yield operation.success, success
        for status, text in operation.also.items():
            yield status, {"description": text}
        kinds: dict[type[errors.PortraitError], None] = dict.fromkeys(
            (*_ALWAYS, *self._guards(operation), *operation.fails)
        )
        for status, codes in sorted(api_errors.statuses_of(*kinds).items()):
            yield (
                status,
                {
                    "description": f"One of: {', '.join(codes)}",
                    "content": {
                        api_errors.MEDIA_TYPE: {"schema": self._schemas.answer(_PROBLEM)},
                    },
                },
            )

    @staticmethod
    def _guards(operation: Operation) -> tuple[type[errors.PortraitError], ...]:
        writing = () if operation.method == "GET" else _WRITING
        guarded = () if operation.public else _GUARDED
        bound = (
            (errors.TenantRequired, errors.InvalidParameter) if operation.needs_tenant and not operation.public else ()
        )
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


_TENANT = {
    "name": "X-Tenant-Id",
    "in": "header",
    "description": "The tenant's id; optional if the key is bound to a tenant.",
    "required": False,
    "schema": {"type": "string"},
    "example": "my-tenant",
}
