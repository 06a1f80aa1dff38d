"""Every compiled pattern of the core and all plugins, and texts that lead each of them astray."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any

import attrs
import msgspec

ROOT = Path(__file__).parents[2]
_FILLERS = (" ", "\n", "\t", "<", "0", "a", "A", '"', "(", ".", "-", "/", ":", ",", "=", "`")
_ENDS = ("", "\x00", "!\n", "a")
_MAX_UNITS = 16
_MAX_STARTS = 6


def packages() -> tuple[str, ...]:
    """Return the names of the core's package and of every plugin's."""
    found = sorted(path.parent.name for path in ROOT.glob("plugins/*/argo_mw_*/__init__.py"))
    return ("argo_mw", *found)


def modules() -> Iterator[ModuleType]:
    """Yield every module of the core and of the plugins."""
    for name in packages():
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def compiled() -> dict[str, re.Pattern[Any]]:
    """Return every pattern that a module holds, in whatever container, by its place."""
    found: dict[str, re.Pattern[Any]] = {}
    for module in modules():
        for name, value in vars(module).items():
            for pattern in _inside(value, depth=4):
                known = any(pattern is other for other in found.values())
                if not known:
                    found[f"{module.__name__}.{name} {pattern.pattern!r}"] = pattern
    return found


def _inside(value: object, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    if depth == 0 or isinstance(value, (str, bytes, ModuleType)):
        return
    for part in _parts(value):
        yield from _inside(part, depth - 1)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (tuple, list, set, frozenset)):
        return value
    if isinstance(value, type):
        return vars(value).values() if value.__module__.startswith("argo_mw") else ()
    if attrs.has(type(value)):
        return [getattr(value, field.name, None) for field in attrs.fields(type(value))]
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name, None) for name in value.__struct_fields__]
    return ()


def texts(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Yield makers of texts: parts of *pattern* repeated, after a beginning that fits it."""
    parsed = parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    plain = isinstance(pattern.pattern, str)
    units = list(dict.fromkeys(unit for unit in _units(parsed) if unit))
    starts = list(dict.fromkeys(["", *islice(_starts(parsed), _MAX_STARTS)]))
    units = [*units[:_MAX_UNITS], *starts[1:], *_FILLERS]
    for start in starts:
        for unit in dict.fromkeys(units):
            for end in _ENDS:
                yield _maker(start, unit, end, plain=plain)


def _maker(start: str, unit: str, end: str, *, plain: bool) -> Callable[[int], Any]:
    def text(length: int) -> Any:
        made = start + unit * (length // len(unit)) + end
        return made if plain else made.encode("utf-8", "replace")

    return text


def _sample(part: Any) -> str:
    """Return one text that *part* of a pattern matches, as far as that is simple."""
    return "".join(_one(code, argument) for code, argument in part)


def _one(code: Any, argument: Any) -> str:
    if code is codes.LITERAL:
        return chr(argument)
    if code is codes.NOT_LITERAL:
        return "x" if argument != ord("x") else "y"
    if code is codes.ANY:
        return "x"
    if code is codes.IN:
        return _member(argument)
    if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
        least, _, inner = argument
        return _sample(inner) * max(least, 1)
    if code is codes.SUBPATTERN:
        return _sample(argument[-1])
    if code is codes.ATOMIC_GROUP:
        return _sample(argument)
    if code is codes.BRANCH:
        return _sample(argument[1][0])
    return ""  # anchors and assertions


_CATEGORIES = {
    codes.CATEGORY_DIGIT: "1",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_WORD: "a",
    codes.CATEGORY_NOT_DIGIT: "a",
    codes.CATEGORY_NOT_SPACE: "a",
    codes.CATEGORY_NOT_WORD: "-",
}


def _member(members: Any) -> str:
    code, argument = members[0]
    if code is codes.NEGATE:
        excluded = re.compile("[" + "".join(_range(*one) for one in members[1:]) + "]")
        return next(char for char in "x1 -<\n" if not excluded.match(char))
    if code is codes.LITERAL:
        return chr(argument)
    if code is codes.RANGE:
        return chr(argument[0])
    return _CATEGORIES.get(argument, "a")


def _range(code: Any, argument: Any) -> str:
    if code is codes.LITERAL:
        return re.escape(chr(argument))
    if code is codes.RANGE:
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    names = {
        codes.CATEGORY_DIGIT: r"\d",
        codes.CATEGORY_SPACE: r"\s",
        codes.CATEGORY_WORD: r"\w",
        codes.CATEGORY_NOT_DIGIT: r"\D",
        codes.CATEGORY_NOT_SPACE: r"\S",
        codes.CATEGORY_NOT_WORD: r"\W",
    }
    return names[argument]


def _units(part: Any) -> Iterator[str]:
    """Yield samples of *part*, of all parts in it, and every character of its classes."""
    yield _sample(part)
    for code, argument in part:
        yield _one(code, argument)
        if code is codes.IN:
            for member in argument:
                if member[0] is not codes.NEGATE:
                    yield _member([member])
        for inner in _children(code, argument):
            yield from _units(inner)


def _children(code: Any, argument: Any) -> Iterable[Any]:
    if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
        return (argument[2],)
    if code is codes.SUBPATTERN:
        return (argument[-1],)
    if code is codes.ATOMIC_GROUP:
        return (argument,)
    if code is codes.BRANCH:
        return tuple(argument[1])
    if code in {codes.ASSERT, codes.ASSERT_NOT}:
        return (argument[1],)
    return ()


def _starts(part: Any, before: str = "") -> Iterator[str]:
    """Yield what fits before each repetition in *part*: mixed prefixes of the pattern itself."""
    for code, argument in part:
        if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT} and before:
            yield before
        for inner in _children(code, argument):
            yield from _starts(inner, before)
        before += _one(code, argument)
