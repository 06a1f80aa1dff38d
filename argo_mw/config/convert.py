"""Tables into attrs classes, by cattrs, with errors that name the key and the way out."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from argo_mw.base.errors import ConfigError
from argo_mw.base.suggest import suggest
from argo_mw.config.secret import Secret

T = TypeVar("T")


def structure(table: Mapping[str, object], into: type[T], *, where: str) -> T:
    """Return *table* as an instance of the attrs class *into*.

    Args:
        table: The table as written.
        into: The class; its fields' types and validators decide.
        where: The file and table, for errors: ``argo.toml [plugins.cache]``.

    Raises:
        ConfigError: A key is unknown, missing, or of the wrong type or range.
    """
    try:
        return _converter.structure(table, into)
    except cattrs.BaseValidationError as error:
        raise ConfigError(_explain(error, into, where)) from None


def _exact(wanted: type, *also: type) -> Callable[[object, object], object]:
    def convert(value: object, _: object) -> object:
        if type(value) is wanted or type(value) in also:
            return wanted(value)
        msg = f"expected {_NAMES[wanted]}, got {value!r}"
        raise TypeError(msg)

    return convert


def _secret(value: object, _: type) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        msg = f"expected text, got a {type(value).__name__}"
        raise TypeError(msg)
    return Secret(value)


def _path(value: object, _: type) -> Path:
    if not isinstance(value, str):
        msg = f"expected a path, got {value!r}"
        raise TypeError(msg)
    return Path(value).expanduser()


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(str, _exact(str))
    converter.register_structure_hook(bool, _exact(bool))
    converter.register_structure_hook(int, _exact(int))
    converter.register_structure_hook(float, _exact(float, int))
    converter.register_structure_hook(Secret, _secret)
    converter.register_structure_hook(Path, _path)
    converter.register_structure_hook_func(_is_plain_object, lambda value, _: value)
    converter.register_structure_hook_factory(
        attrs.has,
        lambda cls: make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True),
    )
    return converter


def _is_plain_object(cls: object) -> bool:
    return cls is object


def _explain(error: cattrs.BaseValidationError, into: type, where: str) -> str:
    complaints = "; ".join(_complaints(error, into, ""))
    return f"{where}: {complaints}"


def _complaints(error: BaseException, into: object, path: str) -> Iterator[str]:
    match error:
        case cattrs.ClassValidationError():
            noted, rest = error.group_exceptions()
            for inner, note in noted:
                below = _type_of(into, note.name)
                yield from _complaints(inner, below, f"{path}.{note.name}".lstrip("."))
            yield from _all_complaints(rest, into, path)
        case cattrs.IterableValidationError():
            placed, others = error.group_exceptions()
            for inner, place in placed:
                step = f".{place.index}" if isinstance(place.index, str) else f"[{place.index}]"
                yield from _complaints(inner, _element(into), f"{path}{step}")
            yield from _all_complaints(others, into, path)
        case cattrs.ForbiddenExtraKeysError():
            for key in sorted(error.extra_fields):
                yield _unknown_key(f"{path}.{key}".lstrip("."), key, into)
        case BaseExceptionGroup():
            yield from _all_complaints(error.exceptions, into, path)
        case _:
            yield f"{path}: {error.args[0] if error.args else error}"


def _all_complaints(errors: Iterable[BaseException], into: object, path: str) -> Iterator[str]:
    for error in errors:
        yield from _complaints(error, into, path)


def _unknown_key(path: str, key: str, into: object) -> str:
    known = [a.name for a in attrs.fields(into) if a.name != "source"] if attrs.has(into) else []  # type: ignore[arg-type]
    return f"unknown key {path!r}: {suggest(key, known)}"


def _type_of(into: object, field: str) -> object:
    if not isinstance(into, type) or not attrs.has(into):
        return object
    hint = get_type_hints(into).get(field, object)
    if get_origin(hint) in (Union, types.UnionType):
        hint = next((a for a in get_args(hint) if a is not type(None)), object)
    return hint


def _element(into: object) -> object:
    arguments = [a for a in get_args(into) if a is not Ellipsis]
    return arguments[-1] if arguments else object


_converter = _make_converter()
