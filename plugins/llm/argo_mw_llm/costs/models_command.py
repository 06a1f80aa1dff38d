"""``argo-mw models``: list the models that can be asked, their prices, and their keys' sources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click
from attrs import asdict, frozen
from rich.table import Table

from argo_mw.cli import console, print_json, with_argo
from argo_mw.plugin import Argo, config_of
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.price_sources import prices_of
from argo_mw_llm.costs.prices import Prices
from argo_mw_llm.providers.profiles import Profile


@frozen
class ModelRow:
    """A model that has a price, or is a provider's default.

    Attributes:
        provider: Its provider.
        model: Its name.
        default: Whether it is the provider's default.
        input: US dollars for a million prompt tokens, or ``None`` if unknown.
        output: The same for tokens of an answer.
        key: The source of its key, or what is missing.
    """

    provider: str
    model: str
    default: bool
    input: float | None
    output: float | None
    key: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def models(argo: Argo, as_json: bool) -> None:
    """List the models that can be asked, and whether their providers' keys are set.

    Prices are in USD for a million tokens.
    """
    config = config_of(argo, LlmConfig)
    rows = rows_of(config.profiles, prices_of(config, None), os.environ)
    if as_json:
        print_json([asdict(one) for one in rows])
        return
    table = Table("model", "provider", "in", "out", "key", box=None, pad_edge=False)
    for one in rows:
        name = f"{one.model} (default)" if one.default else one.model
        table.add_row(name, one.provider, _usd(one.input), _usd(one.output), one.key)
    console().print(table)


def rows_of(
    profiles: Mapping[str, Profile], prices: Prices, environ: Mapping[str, str]
) -> Sequence[ModelRow]:
    """Return the models of *profiles*, the default of each provider first.

    Args:
        profiles: The providers.
        prices: The prices of models.
        environ: The environment, which may hold keys.
    """
    rows = []
    for name, profile in profiles.items():
        known = sorted(one for one in prices.known if one != profile.model and profile.has(one))
        for model in (profile.model, *known):
            price = prices.of(model, name)
            row = ModelRow(
                provider=name,
                model=model,
                default=model == profile.model,
                input=None if price is None else price.input,
                output=None if price is None else price.output,
                key=_key(profile, environ),
            )
            rows.append(row)
    return rows


def _key(profile: Profile, environ: Mapping[str, str]) -> str:
    """Return the source of the key of *profile*, without showing any of the key."""
    if not profile.needs_key:
        return "none needed"
    if profile.key:
        return "argo.toml"
    found = next((one for one in profile.key_from if environ.get(one)), "")
    return found or f"missing: set {' or '.join(profile.key_from)}"


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"{price:g}"
