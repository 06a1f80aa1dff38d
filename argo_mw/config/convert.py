"""Tables into attrs classes, by cattrs, with errors that name the key and the way out."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from argo_mw.base.durations import seconds
from argo_mw.base.errors import BadParameter, ConfigError
from argo_mw.base.secret import Secret, SecretUrl
from argo_mw.base.sizes import size_in_bytes
from argo_mw.base.suggest import suggest
from argo_mw.config.written import WrittenText, as_written, read_out

Shown = Annotated[str, "shown"]
"""The type of a field whose text is a name, which is shown even if it came from the environment.

Text of fields of type ``str`` that came from the environment, or holds a password, is used like any
other text but hidden where the configuration is shown. Names of tenants and models are shown by
design, and become part of keys.
"""

OneOrMore = Annotated[tuple[Secret, ...], "one or more"]
"""The type of a field that takes one secret, or a list of them."""

Duration = Annotated[float, "duration"]
"""The type of a field that takes seconds, or a text such as ``"1h30m"``."""

Size = Annotated[int, "size"]
"""The type of a field that takes bytes, or a text such as ``"512MB"``."""

_MAX_SHOWN = 12
"""Characters of a wrong word that an error repeats: a longer text may be a misplaced secret."""

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
        return _converter.structure(as_written(table), into)
    except cattrs.BaseValidationError as error:
        raise ConfigError(_explain(error, into, where)) from None


def described(value: object) -> str:
    """Return what kind of value *value* is, for errors: only numbers are repeated."""
    match value:
        case WrittenText(from_environment=True):
            return "other text from the environment"
        case WrittenText() | Secret() | str():
            return "text"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


class _WrongType(TypeError):
    """A value of another type than its key takes; says so in the words of the configuration."""


def _mismatch(wanted: str, value: object) -> _WrongType:
    return _WrongType(f"expected {wanted}, got {described(value)}")


def _exact(wanted: type, *also: type) -> Callable[[object, object], object]:
    def convert(value: object, _: object) -> object:
        if type(value) is wanted or type(value) in also:
            return wanted(value)
        if isinstance(value, WrittenText) and value.from_environment:
            # All that the environment can hold is text.
            with suppress(ValueError, KeyError):
                return _READERS[wanted](value.plain())
        raise _mismatch(_NAMES[wanted], value)

    return convert


def _true_or_false(text: str) -> bool:
    return {"true": True, "false": False}[text.strip().lower()]


def _text(value: object, _: object) -> str:
    if type(value) is str:
        return value  # the key of a table
    if not isinstance(value, WrittenText):
        raise _mismatch("text", value)
    return value.reveal()


def _shown_text(value: object, _: object) -> str:
    if type(value) is str:
        return value
    if not isinstance(value, WrittenText):
        raise _mismatch("text", value)
    return value.plain()


def _secret(value: object, into: type[Secret]) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, WrittenText):
        wanted = "text" if isinstance(value, (list, Mapping)) else 'text, written "like this"'
        # A key may consist of digits alone, so not even a number is repeated.
        msg = f"expected {wanted}"
        raise _WrongType(msg)
    value.conceal()
    return into(value.plain())


def _secrets(value: object, _: object) -> tuple[Secret, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(_secret(one, Secret) for one in value)
    return (_secret(value, Secret),)


def _size(value: object, _: object) -> int:
    given = value.plain() if isinstance(value, WrittenText) else value
    if isinstance(value, WrittenText) and value.from_environment:
        with suppress(ValueError):
            given = int(value.plain())
    if not isinstance(given, (int, str)) or isinstance(given, bool):
        raise _mismatch("a size", value)
    try:
        return size_in_bytes(given)
    except BadParameter as error:
        msg = f'expected bytes, or a text such as "512MB" or "1.5GiB", got {described(value)}'
        raise _WrongType(msg) from error


def _duration(value: object, _: object) -> float:
    given = value.plain() if isinstance(value, WrittenText) else value
    if isinstance(value, WrittenText) and value.from_environment:
        with suppress(ValueError):
            given = float(value.plain())
    if not isinstance(given, (int, float, str)):
        raise _mismatch("a duration", value)
    try:
        return seconds(given)
    except BadParameter as error:
        msg = f'expected seconds, or a text such as "90s" or "1h30m", got {described(value)}'
        raise ValueError(msg) from error


def _path(value: object, _: type) -> Path:
    if not isinstance(value, WrittenText):
        raise _mismatch("a path", value)
    return Path(value.plain()).expanduser()


def _is_literal(into: object) -> bool:
    origin: object = get_origin(into)
    return origin is Literal


def _literal(value: object, into: object) -> object:
    # The keys of tables are plain text.
    plain = value.plain() if isinstance(value, WrittenText) else value
    for one in get_args(into):
        if type(one) is type(plain) and one == plain:
            return one
    got = described(value)
    if isinstance(value, WrittenText) and not value.hidden and len(value.plain()) <= _MAX_SHOWN:
        got = repr(value.plain())
    msg = f"expected one of {', '.join(map(repr, get_args(into)))}, got {got}"
    raise ValueError(msg)


def _table_of(cls: type[T], converter: cattrs.Converter) -> Callable[[object, type[T]], T]:
    """Return what makes a *cls* of a table."""
    make = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    def convert(value: object, into: type[T]) -> T:
        if not isinstance(value, Mapping):
            raise _mismatch("a table", value)
        return make(value, into)

    return convert


_NAMES = {int: "a whole number", float: "a number", bool: "true or false"}
_READERS: Mapping[type, Callable[[str], object]] = {int: int, float: float, bool: _true_or_false}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda cls: cls == Shown, _shown_text)
    converter.register_structure_hook(bool, _exact(bool))
    converter.register_structure_hook(int, _exact(int))
    converter.register_structure_hook(float, _exact(float, int))
    converter.register_structure_hook(Secret, _secret)
    converter.register_structure_hook(SecretUrl, _secret)
    converter.register_structure_hook_func(lambda cls: cls == OneOrMore, _secrets)
    converter.register_structure_hook_func(lambda cls: cls == Duration, _duration)
    converter.register_structure_hook_func(lambda cls: cls == Size, _size)
    converter.register_structure_hook(Path, _path)
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_func(
        lambda cls: cls is object, lambda value, _: read_out(value)
    )
    converter.register_structure_hook_factory(attrs.has, lambda cls: _table_of(cls, converter))
    return converter


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
            complaint = _complaint(error, into)
            yield f"{path}: {complaint}" if path else complaint


def _complaint(error: BaseException, into: object) -> str:
    if isinstance(error, KeyError):  # raised by cattrs, for a key that the table lacks
        return "it is required, and missing"
    origin = get_origin(into)
    foreign = isinstance(error, (TypeError, AttributeError)) and not isinstance(error, _WrongType)
    if foreign and isinstance(origin, type):
        # Raised by cattrs, in terms of Python.
        if issubclass(origin, Mapping):
            return "expected a table"
        if issubclass(origin, Collection):
            return "expected a list"
    return str(error.args[0] if error.args else error)


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
