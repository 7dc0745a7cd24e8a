"""The schemas of the OpenAPI document: named components made from types, as generators of clients take them well.

What a body may leave out an answer always has, be it null. So a type whose fields have defaults is two schemas: the
answer's requires them, and the body's, called `New…`, does not. Neither says a default: generators read one as a
promise that the field is there.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, get_args

import msgspec

REF = "#/components/schemas/"
Schema = dict[str, Any]


def component(name: str, schema: Mapping[str, Any]) -> Schema:
    """Return the placeholder, in an operation, for a schema that is a component with a name of its own."""
    return {"$component": name, "schema": schema}


class Schemas:
    """The components of a document, and the references that stand for types in it.

    Args:
        answered: the schemas of answers; in them `{"$type": type}` stands for a type.
        taken: the schemas of bodies.
    """

    def __init__(self, answered: Sequence[Any], taken: Sequence[Any]) -> None:
        # Portrait's own first: whatever a plugin's types are called, these keep their names.
        types = sorted(dict.fromkeys(_types_in([*answered, *taken])), key=_is_foreign)
        answer_types, body_types = set(_types_in(answered)), set(_types_in(taken))
        references, raw = msgspec.json.schema_components(types, ref_template=f"{REF}{{name}}")
        whole = {name: _spelled(schema) for name, schema in raw.items()}
        by_type = dict(zip(types, references, strict=True))
        in_answers = _reached(whole, [by_type[kind] for kind in answer_types])
        in_bodies = _reached(whole, [by_type[kind] for kind in body_types])
        twofold = _twofold(whole, in_answers & in_bodies)
        self.components: dict[str, Schema] = {}
        names = _Names(_components_in([*answered, *taken]))
        plain, new = {}, {}
        for name in whole:
            plain[name] = new[name] = names.take(_plain(name))
            if name in twofold:
                new[name] = names.take(f"New{_plain(name)}")
        for name, schema in whole.items():
            if name in in_answers:
                self.components[plain[name]] = {**_renamed(_answered(schema), plain), "title": plain[name]}
            if name in in_bodies and new[name] not in self.components:
                self.components[new[name]] = {**_renamed(_taken(schema), new), "title": new[name]}
        self._answered = {kind: _renamed(_spelled(by_type[kind]), plain) for kind in answer_types}
        self._taken = {kind: _renamed(_spelled(by_type[kind]), new) for kind in body_types}

    def answer(self, schema: Any) -> Any:
        """Return the schema of an answer, every type in it replaced by its reference."""
        return self._resolved(schema, self._answered)

    def body(self, schema: Any) -> Any:
        """Return the schema of a body, every type in it replaced by its reference."""
        return self._resolved(schema, self._taken)

    def _resolved(self, schema: Any, references: Mapping[Any, Schema]) -> Any:
        if isinstance(schema, dict):
            if "$type" in schema:
                return references[schema["$type"]]
            if "$component" in schema:
                return self._component(schema["$component"], self._resolved(schema["schema"], references))
            return _explicit({key: self._resolved(value, references) for key, value in schema.items()})
        if isinstance(schema, list | tuple):
            return [self._resolved(value, references) for value in schema]
        return schema

    def _component(self, name: str, schema: Schema) -> Schema:
        component_name = next(
            numbered
            for numbered in _numbered(name)
            if self.components.get(numbered, schema | {"title": numbered}) == schema | {"title": numbered}
        )
        self.components[component_name] = schema | {"title": component_name}
        return {"$ref": f"{REF}{component_name}"}


def _types_in(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        if "$type" in schema:
            yield schema["$type"]
        for value in schema.values():
            yield from _types_in(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _types_in(value)


def _components_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$component" in schema:
            yield schema["$component"]
        for value in schema.values():
            yield from _components_in(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _components_in(value)


def _is_foreign(type_: Any) -> bool:
    if parts := get_args(type_):
        return any(map(_is_foreign, parts))  # a generic's own class is Portrait's, and a union has no class
    return not getattr(type_, "__module__", "").startswith("portrait.")


def _plain(name: str) -> str:
    """Return a type's name as clients like it: one word for a generic, and no module."""
    return "".join(re.findall(r"(?:^|[._])([A-Z][A-Za-z0-9]*)", name)) or name


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from map(f"{name}{{}}".format, count(2))


class _Names:
    """Names that are given once: whoever asks for a name that is taken gets it with a number."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def take(self, name: str) -> str:
        free = next(numbered for numbered in _numbered(name) if numbered not in self._taken)
        self._taken.add(free)
        return free


def _walked(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Return a schema in which every object was changed, the inner ones first."""
    if isinstance(schema, dict):
        return change({key: _walked(value, change) for key, value in schema.items()})
    return [_walked(value, change) for value in schema] if isinstance(schema, list | tuple) else schema


def _explicit(schema: Schema) -> Schema:
    """Return a schema that states what it implies: an object without properties may have any, and choices are texts."""
    if schema.get("type") == "object" and not {"properties", "additionalProperties"} & schema.keys():
        return {**schema, "additionalProperties": True}
    choices = schema.get("enum")
    if isinstance(choices, list) and all(isinstance(choice, str) for choice in choices):
        return {**schema, "type": "string"}
    return schema


def _spelled(schema: Any) -> Any:
    return _walked(schema, _explicit)


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema whose references and title have other names."""

    def target(reference: str) -> str:
        name = reference.removeprefix(REF)
        return f"{REF}{names.get(name, name)}"

    def change(subschema: Schema) -> Schema:
        changed = dict(subschema)
        if isinstance(subschema.get("$ref"), str):
            changed["$ref"] = target(subschema["$ref"])
        if isinstance(subschema.get("discriminator"), dict):
            mapping = {tag: target(reference) for tag, reference in subschema["discriminator"]["mapping"].items()}
            changed["discriminator"] = {**subschema["discriminator"], "mapping": mapping}
        return changed

    return _walked(schema, change)


def _references(schema: Any) -> set[str]:
    names: set[str] = set()

    def note(subschema: Schema) -> Schema:
        if isinstance(subschema.get("$ref"), str):
            names.add(subschema["$ref"].removeprefix(REF))
        return subschema

    _walked(schema, note)
    return names


def _reached(components: Mapping[str, Schema], schemas: Iterable[Any]) -> set[str]:
    """Return the components that schemas lead to."""
    reached: set[str] = set()
    ahead = set().union(*map(_references, schemas)) & components.keys()
    while ahead:
        reached |= ahead
        ahead = (set().union(*(_references(components[name]) for name in ahead)) & components.keys()) - reached
    return reached


def _twofold(components: Mapping[str, Schema], names: set[str]) -> set[str]:
    """Return the components that are not the same in an answer as in a body, or lead to such a component."""
    twofold = {name for name in names if _answered(components[name]) != _taken(components[name])}
    while more := {name for name in names - twofold if _references(components[name]) & twofold}:
        twofold |= more
    return twofold


def _answered(schema: Schema) -> Schema:
    """Return what an object is in an answer: fields with a default are always there."""
    properties = schema.get("properties", {})
    needed = {*schema.get("required", ()), *(name for name, subschema in properties.items() if "default" in subschema)}
    required = {"required": [name for name in properties if name in needed]} if needed else {}
    return _taken(schema) | required


def _taken(schema: Schema) -> Schema:
    """Return what an object is in a body: fields with a default may be left out."""
    properties = schema.get("properties", {})
    bare = {
        name: {key: part for key, part in subschema.items() if key != "default"}
        for name, subschema in properties.items()
    }
    return {**schema, "properties": bare} if bare else schema
