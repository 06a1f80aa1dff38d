"""The configuration behind answers, as a digest that equal instances have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import attrs

from argo_mw.app.pipeline import Contributions, Pipeline
from argo_mw.base.fingerprint import fingerprint
from argo_mw.base.secret import HiddenText, Secret


def configuration_of(pipeline: Pipeline, operations: Set[str]) -> str:
    """Return a digest of what is configured about the answers to *operations*.

    That is the order of their upstreams, and the tables of the plugins that offer or answer them,
    without secrets: those are rotated, and decide who may ask, not what is answered.
    """
    tables = {
        name: _plain(one.config)
        for name, one in pipeline.contributions.items()
        if any(name in operations for name in _answered_by(one))
    }
    asked = {name: list(pipeline.candidates.get(name, ())) for name in sorted(operations)}
    return fingerprint([asked, tables])


def _answered_by(one: Contributions) -> Iterable[str]:
    yield from (operation.name for operation in one.all_operations)
    for upstream in one.upstreams:
        yield from upstream.operations


def _plain(value: object) -> object:
    """Return *value*, of a plugin's table, as plain data without secrets."""
    kind: type = type(value)
    if isinstance(value, Secret | HiddenText):
        return None
    if value is None or kind in (bool, int, float, str):
        return value
    if attrs.has(kind):
        return {one.name: _plain(getattr(value, one.name)) for one in attrs.fields(kind)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    return str(value)
