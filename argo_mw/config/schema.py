"""The JSON Schema of ``argo.toml``, for editors: from the classes that read it."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Collection, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from argo_mw.base.secret import Secret
from argo_mw.config.convert import Duration, OneOrMore, Size
from argo_mw.config.settings import ArgoSettings, OperationSettings, UpstreamSettings

Schema = dict[str, Any]

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""The newest that the editors' plugins for TOML read."""

_ENVIRONMENT: Final[Schema] = {"type": "string", "pattern": r"\$\{"}
"""All that the environment can hold is text, in place of a number as well."""

_ENTRY: Final = re.compile(r"^ {4}(?=\w)", re.MULTILINE)
_MARK: Final = re.compile(r":\w{1,20}:`~?([^`]*)`|``")

_RULE: Final[Schema] = {
    "description": 'What decides, per call, whether a layer acts: "on", "off", "shadow", "10%", '
    '"10% by tenant", or a table.',
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "string",
            "pattern": (
                r"^\s*(on|off|shadow|\d+(\.\d+)?\s*%(\s*by\s+(subject|tenant|key))?)\s*$|\$\{"
            ),
        },
        {
            "type": "object",
            "properties": {
                "state": {"enum": ["on", "off", "shadow"]},
                "percent": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}]},
                "by": {"enum": ["subject", "tenant", "key"]},
                "subjects": {"type": "object"},
                "killed": {"type": "boolean"},
                "rolled_back": {"type": "string"},
            },
            "additionalProperties": False,
        },
    ],
}


def schema_of(plugins: Mapping[str, type | None]) -> Schema:
    """Return the schema of a file for *plugins*: the class of each one's table, if it has one."""
    return {
        "$schema": DIALECT,
        "title": "argo.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "argo": _table(ArgoSettings),
            "flags": {"type": "object", "additionalProperties": _RULE},
            "operations": {"type": "object", "additionalProperties": _table(OperationSettings)},
            "upstreams": {"type": "object", "additionalProperties": _table(UpstreamSettings)},
            "plugins": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    name: {"type": "object", "maxProperties": 0} if cls is None else _table(cls)
                    for name, cls in sorted(plugins.items())
                },
            },
        },
    }


def _table(cls: type) -> Schema:
    """Return the schema of a table that the attrs class *cls* reads."""
    summary, said = _said(cls)
    hints = get_type_hints(cls, include_extras=True)
    properties: Schema = {}
    required: list[str] = []
    for field in attrs.fields(cls):
        schema = _type(hints.get(field.name, object))
        for bound in _bounds(field.validator):
            _limit(schema, bound)
        if field.name in said:
            schema = {"description": said[field.name], **schema}
        if field.default is attrs.NOTHING:
            required.append(field.name)
        elif _is_plain(field.default):
            schema["default"] = field.default
        properties[field.name] = schema
    table: Schema = {
        "type": "object",
        "additionalProperties": False,
        "description": summary,
        "properties": properties,
    }
    return {**table, "required": required} if required else table


def _type(hint: object) -> Schema:  # noqa: C901 - one case for each kind of type
    """Return the schema of a value of type *hint*, as the configuration writes it."""
    if hint == Duration:
        return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}
    if hint == Size:
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}
    if hint == OneOrMore:
        return {"anyOf": [{"type": "string"}, _list_of({"type": "string"})]}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(arguments[0])
    if origin in (Union, types.UnionType):
        several = [_type(one) for one in arguments if one is not type(None)]
        return several[0] if len(several) == 1 else {"anyOf": several}
    if origin is Literal:
        return {"enum": list(arguments)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _type(arguments[-1])}
    if isinstance(origin, type) and issubclass(origin, Collection):
        return _list_of(_type(next(one for one in arguments if one is not Ellipsis)))
    if isinstance(hint, type):
        if attrs.has(hint):
            return _table(hint)
        if issubclass(hint, (str, Path, Secret)):
            return {"type": "string"}
        if hint in _NUMBERS:
            return {"anyOf": [{"type": _NUMBERS[hint]}, _ENVIRONMENT]}
    return {}


_NUMBERS: Final[Mapping[type, str]] = {bool: "boolean", int: "integer", float: "number"}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _bounds(validator: object) -> Iterator[tuple[str, float]]:
    """Return the comparisons that *validator* of attrs makes, such as ``(">", 0)``."""
    for inner in getattr(validator, "_validators", ()):
        yield from _bounds(inner)
    if (inner := getattr(validator, "validator", None)) is not None:
        yield from _bounds(inner)
    bound = getattr(validator, "bound", None)
    if isinstance(bound, (int, float)):
        yield getattr(validator, "compare_op", ""), bound


_KEYWORDS: Final = {
    ">": "exclusiveMinimum",
    ">=": "minimum",
    "<": "exclusiveMaximum",
    "<=": "maximum",
}


def _limit(schema: Schema, bound: tuple[str, float]) -> None:
    """Add *bound* to the number that *schema* allows."""
    operator, number = bound
    for one in (schema, *schema.get("anyOf", ())):
        if one.get("type") in ("integer", "number") and operator in _KEYWORDS:
            one[_KEYWORDS[operator]] = number


def _is_plain(default: object) -> bool:
    return isinstance(default, (bool, int, float, str))


def _said(cls: type) -> tuple[str, dict[str, str]]:
    """Return the summary of *cls*'s docstring, and what it says of each attribute."""
    text = inspect.cleandoc(cls.__doc__ or "")
    _, _, after = text.partition("\nAttributes:\n")
    section = takewhile(lambda line: not line or line.startswith("    "), after.split("\n"))
    entries = _ENTRY.split("\n".join(section))[1:]
    said: dict[str, str] = {}
    for entry in entries:
        names, _, words = entry.partition(":")
        said |= {name.strip(): _plain(words) for name in names.split(",")}
    return _plain(text.partition("\n\n")[0]), said


def _plain(text: str) -> str:
    """Return *text* of a docstring without its marks."""
    return " ".join(_MARK.sub(r"\1", text).split())
