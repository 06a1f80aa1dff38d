"""Shapes: how a vendor's answer differs from what its client knows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import inspect

UNREAD: Mapping[str, frozenset[str]] = {
    "alpaca": frozenset({"bars.*.n", "bars.*.vw"}),
    "massive": frozenset(
        {
            *("results.n", "results.vw", "results.otc"),
            *("ticker", "queryCount", "resultsCount", "adjusted", "request_id", "count"),
        }
    ),
}
"""Fields that vendors document and that are not read here."""


def differences(vendor: str, body: bytes, kind: object) -> list[str]:
    """Return the fields of *body* that *kind*, as which it was read, does not know."""
    found = _unknown(msgspec.json.decode(body), inspect.type_info(kind), "")
    known = UNREAD.get(vendor, frozenset())
    return [f"field {name} is new" for name in sorted(set(found) - known)]


def _unknown(value: object, kind: inspect.Type, path: str) -> Iterator[str]:
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _unknown(value, one, path)
    elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for name, inner in value.items():
            if name in fields:
                yield from _unknown(inner, fields[name], f"{path}{name}.")
            else:
                yield f"{path}{name}"
    elif isinstance(kind, inspect.ListType) and isinstance(value, list):
        for inner in value:
            yield from _unknown(inner, kind.item_type, path)
    elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
        for inner in value.values():
            yield from _unknown(inner, kind.value_type, f"{path}*.")
