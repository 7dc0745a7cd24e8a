"""The generated blocks of the reference pages, made from the code: one function for each block."""

import ast
import collections.abc
import inspect
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec
from sqlalchemy import MetaData

import portrait
from portrait.api import errors as api_errors
from portrait.app import application, build
from portrait.cli import cli
from portrait.model import errors
from portrait.model.warning import WARNINGS
from portrait.sections import fold, record, registry
from portrait.sections.attributes import PERSON
from portrait.sections.base import StoredSection
from portrait.settings import SETTINGS
from portrait.storage.schema import POSTGRESQL, SQLITE

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def table(head: str, rows: Any) -> str:
    """A Markdown table."""
    names = head.split(" | ")
    lines = [f"| {head} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: Any) -> str:
    return f"`{text}`" if str(text) else ""


async def operations(directory: Path) -> str:
    """Every operation; an operation of all stored sections is one row, with `{section}` in its path."""
    services = build(f"sqlite:///{directory / 'portrait.db'}", installed=False)
    try:
        app = application(services)
        names = {section.name for section in services.registry.all_stored()}
    finally:
        await services.close()
    rows: dict[tuple[str, str], tuple[Any, ...]] = {}
    for operation in app.operations:
        described = app.document["paths"][operation.path][operation.method.lower()]
        own = operation.tag in names
        path = operation.path.replace(f"/{operation.tag}", "/{section}") if own else operation.path
        answers = described["responses"]
        problems = "; ".join(
            f"{status} {answer['description'].removeprefix('One of: ')}"
            for status, answer in sorted(answers.items())
            if status >= "400"
        )
        row = (
            code(f"{operation.method} {path}"),
            "no key needed" if operation.public else ", ".join(sorted(operation.roles)),
            ", ".join(sorted(status for status in answers if status < "400")),
            problems,
        )
        assert rows.setdefault((operation.method, path), row) == row, (
            f"{operation.id} differs from the other sections' route"
        )
    return table("operation | roles | answers | problems", rows.values())


def problems() -> str:
    return table(
        "code | status | title | meaning",
        (
            (code(kind.code), *api_errors.STATUSES[kind], (kind.__doc__ or "").strip().splitlines()[0])
            for kind in api_errors.tree()
        ),
    )


def warnings() -> str:
    return table("code | meaning", ((code(warning.code), warning.detail) for warning in WARNINGS))


def settings() -> str:
    return table(
        "setting | flag | variable | values | default | meaning",
        (
            (
                code(setting.name),
                code(f"--{setting.name.replace('_', '-')}"),
                code(setting.variable),
                ", ".join(setting.kind)
                if isinstance(setting.kind, tuple)
                else _KINDS[setting.kind] + ("s" if setting.many else ""),
                code(setting.default) if not setting.many else "none",
                setting.help,
            )
            for setting in SETTINGS.values()
        ),
    )


_KINDS = {str: "text", int: "number", float: "number", bool: "true, false"}


def commands() -> str:
    return "\n".join(_command(command, name) for name, command in _commands(cli, "portrait"))


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for subcommand in sorted(command.commands):
            yield from _commands(command.commands[subcommand], f"{name} {subcommand}")


def _command(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name)
    usage = command.get_usage(context).removeprefix("Usage: ").replace("\n", " ")
    parts = [f"### {name}\n", f"`{' '.join(usage.split())}`\n", inspect.cleandoc(command.help or "") + "\n"]
    options = [option for option in command.params if isinstance(option, click.Option)]
    # Every command takes the file of settings, which the top command's table names.
    own = [option for option in options if option.name not in SETTINGS and (option.name != "config" or command is cli)]
    if own:
        rows = (
            (
                code(", ".join([*option.opts, *option.secondary_opts])),
                _values(option),
                "yes" if option.required else "",
                option.help,
            )
            for option in own
        )
        parts.append(table("option | value | required | meaning", rows))
    if shared := [code(option.opts[0]) for option in options if option.name in SETTINGS]:
        parts.append(f"[Settings](settings.md): {', '.join(shared)}.\n")
    return "\n".join(parts)


def _values(option: click.Option) -> str:
    if option.is_flag:
        return "flag"
    kind = option.type
    return ", ".join(kind.choices) if isinstance(kind, click.Choice) else kind.name


def sections() -> str:
    parts = []
    for section in registry.load(installed=False):
        assert isinstance(section, StoredSection)
        module = inspect.getmodule(section.shape.members[0])
        assert module is not None
        how = "`events`: immutable by key" if section.kind == "events" else "`state`: the newest record of a key counts"
        parts.append(f"### {section.name}\n\n{section.description} Kind {how}. Keys in URLs: {_key_form(section)}.\n")
        for member in section.shape.members:
            names = {field.attribute: field.name for field in section.shape.fields[member]}
            key = ", ".join(code(names[attribute]) for attribute in section.key_fields[member])
            tag = member.__struct_config__
            union = f", told by `{tag.tag_field}` = `{tag.tag}`" if tag.tag_field else ""
            if union:
                parts.append(f"**{member.__name__}**{union}. Key: `{tag.tag_field}`, {key}.\n")
            else:
                parts.append(f"Key: {key}.\n")
            schema = msgspec.json.schema_components([member])[1][member.__name__]["properties"]
            rows = (
                (code(field.name), _type(schema[field.name]), "yes" if field.required else "", field.classification)
                for field in section.shape.fields[member]
            )
            parts.append(table("field | type | required | classification", rows))
    return "\n".join(parts)


def attribute_names() -> str:
    return table("name | schema.org", ((code(name), code(described)) for name, described in PERSON.items()))


def _key_form(section: StoredSection) -> str:
    return "HMACs" if section.opaque_keys else "the key field's value itself"


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(variant) for variant in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    name = {"string": "text", "null": "null", "number": "number", "object": "object"}.get(schema.get("type", ""), "any")
    if schema.get("format") == "date-time":
        name = "timestamp"
    if "minimum" in schema:
        name += f" {schema['minimum']} to {schema['maximum']}"
    if "pattern" in schema:
        name += f" matching `{schema['pattern']}`"
    return name + (", not empty" if schema.get("minLength") else "")


def _tables(metadata: MetaData) -> str:
    parts = []
    for database_table in metadata.sorted_tables:
        key = ", ".join(code(column.name) for column in database_table.primary_key.columns)
        rest = ", ".join(
            f"`{column.name}`{' (may be null)' if column.nullable else ''}"
            for column in database_table.columns
            if not column.primary_key
        )
        indexes = "; ".join(
            f"`{index.name}` on {', '.join(column.name for column in index.columns)}"
            for index in sorted(database_table.indexes, key=lambda index: str(index.name))
        )
        parts.append((code(database_table.name), key, rest, indexes))
    return table("table | primary key | other columns | further indexes", parts)


def layers(container: str = "portrait") -> str:
    """The layers of a package in the configuration of import-linter, top first."""
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    layer_lines = next(contract for contract in contracts if contract.get("containers") == [container])["layers"]
    return "```text\n" + "\n".join(layer_lines) + "\n```\n"


def plugin_api() -> str:
    return "\n".join(_public(name, getattr(portrait, name)) for name in portrait.__all__)


def _public(name: str, value: Any) -> str:
    parts = [f"### {name}\n", f"```python\n{_signature(name, value)}\n```\n"]
    if doc := _doc(name, value):
        parts.append(doc + "\n")
    if inspect.isclass(value) and (described := _attributes(value)):
        parts.append(table("field | meaning", ((code(field), meaning) for field, meaning in described.items())))
    if inspect.isclass(value) and (_is_protocol(value) or value is portrait.Context):
        rows = ((code(method), " ".join((inspect.getdoc(member) or "").split())) for method, member in _methods(value))
        parts.append(table("method | meaning", rows))
    return "\n".join(parts)


def _attributes(value: type) -> dict[str, str]:
    """The fields of a class that have a description below them in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return dict(_described(tree.body))


def _described(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(body):
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        value = following.value if isinstance(following, ast.Expr) else None
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield target.id, " ".join(value.value.split())


def _signature(name: str, value: Any) -> str:
    if isinstance(value, type) and issubclass(value, msgspec.Struct):
        fields = [field.name for field in msgspec.structs.fields(value)]
        return f"class {name}({', '.join(fields)})" if fields else f"class {name}"
    if inspect.isclass(value):
        if members := getattr(value, "__members__", None):
            return f"class {name}: {', '.join(members)}"
        methods = [_plain(attribute, member) for attribute, member in _methods(value)]
        fields = list(getattr(value, "__annotations__", {})) if not hasattr(value, "_fields") else list(value._fields)
        head = f"class {name}" if _is_protocol(value) else f"class {name}{_arguments(value)}"
        lines = [f"    {field}" for field in fields if not field.startswith("_")] if _is_protocol(value) else []
        return "\n".join([head, *lines, *(f"    {method}" for method in methods)])
    if callable(value) and not isinstance(value, msgspec.Meta) and not get_args(value):
        return _plain(name, value)
    return f"{name} = {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, msgspec.Meta):
        return f"the classification {(value.extra or {})['classification']!r}"
    if get_origin(value) is collections.abc.Callable:
        return _WHERE.sub("", str(value)).removeprefix("collections.abc.")
    kind, *metas = get_args(value)
    rules = [f"{key}={val!r}" for meta in metas for key, val in _set(meta)]
    return f"Annotated[{kind.__name__}, Meta({', '.join(rules)})]"


_WHERE = re.compile(r"(?<=[\[, ])(?:\w+\.)+(?=[A-Z])")
"""The modules before a type's name."""


def _set(meta: msgspec.Meta) -> list[tuple[str, Any]]:
    return [(key, getattr(meta, key)) for key in ("tz", "min_length") if getattr(meta, key) is not None]


def _is_protocol(value: Any) -> bool:
    return bool(getattr(value, "_is_protocol", False))


def _methods(value: type) -> list[tuple[str, Any]]:
    own = {name: member for base in reversed(value.__mro__[:-1]) for name, member in vars(base).items()}
    return [
        (name, member) for name, member in own.items() if not name.startswith("_") and inspect.isfunction(member)
    ] + [(name, member) for name, member in own.items() if not name.startswith("_") and isinstance(member, property)]


def _plain(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"{name}  # property"
    prefix = "async def" if inspect.iscoroutinefunction(value) else "def"
    text = f"{prefix} {name}{_arguments(value)}"
    return text if len(text) < 100 else _wrapped(prefix, name, value)


def _wrapped(prefix: str, name: str, value: Any) -> str:
    inside = _arguments(value)[1:-1]
    filled = textwrap.fill(inside, 100, initial_indent="    ", subsequent_indent="    ")
    return f"{prefix} {name}(\n{filled}\n)"


def _arguments(value: Any) -> str:
    signature = inspect.signature(value)
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self" and not name.startswith("_")
    ]
    return re.sub(r"<function (\w+)\..*? at 0x[0-9a-f]+>", r"\1(…)", str(inspect.Signature(kept)))


def _doc(name: str, value: Any) -> str:
    text = inspect.getdoc(value) if inspect.isclass(value) or inspect.isfunction(value) else None
    if text is None:
        return {
            known: meaning
            for module in (record, fold)
            for known, meaning in _described(ast.parse(inspect.getsource(module)).body)
        }[name]
    head, separator, rest = text.partition("\nArgs:\n")
    if not separator:
        return text
    rows: list[list[str]] = []
    arguments, raises, errors_ = rest.partition("\nRaises:\n")
    for line in textwrap.dedent(arguments).strip("\n").splitlines():
        if line.startswith(" "):
            rows[-1][1] += f" {line.strip()}"
        else:
            name, _, meaning = line.partition(": ")
            rows.append([code(name), meaning])
    tail = f"\nRaises {' '.join(errors_.split())}" if raises else ""
    return f"{head.strip()}\n\n{table('argument | meaning', rows)}{tail}"


BLOCKS: dict[str, Callable[[], str]] = {
    "problems": problems,
    "warnings": warnings,
    "settings": settings,
    "commands": commands,
    "sections": sections,
    "attribute-names": attribute_names,
    "tables-of-sqlite": partial(_tables, SQLITE),
    "tables-of-postgresql": partial(_tables, POSTGRESQL),
    "layers": layers,
    "plugin-api": plugin_api,
}
"""The blocks that need no database."""


def error_lines() -> list[tuple[str, str | None]]:
    """The error tree as its docstring draws it: each name with its parent's name."""
    drawn = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0].splitlines()
    error_parents: list[tuple[str, str | None]] = []
    parents: list[str] = []
    for line in drawn:
        indent = line.partition(line.lstrip("│├└─ "))[0]
        depth = len(indent) // 4
        name = line.lstrip("│├└─ ").split()[0]
        error_parents.append((name, parents[depth - 1] if depth else None))
        parents[depth:] = [name]
    return error_parents
