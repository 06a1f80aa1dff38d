"""The flags of the plugin, without importing it: this module is read alone by listings of flags."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, cast

_SHIPPED: Final = Path(__file__).with_name("providers.toml")
_DEFAULT: Final = "default"
_EMBEDS: Final = ("chat", "responses")
"""The protocols in which texts are embedded."""


def flags(table: Mapping[str, object]) -> Iterable[str]:
    """Return the flags of the plugin with its *table*: of its providers, and of the voices."""
    return [f"upstream.{name}" for name in (*_upstreams(_providers(table)), "llm_voices")]


def _upstreams(providers: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    for name, provider in providers.items():
        yield name
        if provider.get("wire") in _EMBEDS and provider.get("embedding_model"):
            yield f"{name}_embeddings"


def _providers(table: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    """Return the tables of the providers that *table* leads to, with those of the plugin."""
    found: dict[str, Mapping[str, object]] = tomllib.loads(_SHIPPED.read_text("utf-8"))
    default = found.pop(_DEFAULT)
    # Their tables may also be at their former place, directly in the plugin's table.
    older = {name: table[name] for name in found if table.get(name) is not None}
    for tables in (older, table.get("providers", {})):
        for name, one in cast("Mapping[str, Mapping[str, object]]", tables).items():
            found[name] = {**found.get(name, {}), **one}
    return {name: {**default, **one} for name, one in found.items()}
