"""``argo-mw models`` and the durations of ``argo-mw ask``."""

from __future__ import annotations

import click
import pytest
from attrs import evolve

from argo_mw import Secret
from argo_mw_llm.commands import ask
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.models_command import ModelRow, rows_of
from argo_mw_llm.costs.price_sources import prices_of


def rows(**environ: str) -> dict[str, ModelRow]:
    config = LlmConfig()
    found = rows_of(config.profiles, prices_of(config, None), environ)
    return {one.model: one for one in found}


def test_every_provider_has_a_default_model_with_a_price() -> None:
    defaults = [one for one in rows().values() if one.default]
    assert set(LlmConfig().profiles) == {one.provider for one in defaults}
    assert all(one.input is not None and one.output is not None for one in defaults)


def test_a_key_is_named_by_its_variable_and_never_shown() -> None:
    claude = LlmConfig().profiles["claude"]
    there = rows(ANTHROPIC_API_KEY="sk-secret")[claude.model]
    assert "ANTHROPIC_API_KEY" == there.key
    assert "missing: set ANTHROPIC_API_KEY" in rows()[claude.model].key


def test_a_key_of_the_configuration_is_named_by_its_place() -> None:
    config = LlmConfig()
    claude = evolve(config.profiles["claude"], key=Secret("sk-secret"))
    found = rows_of({"claude": claude}, prices_of(config, None), {})
    assert {"argo.toml"} == {one.key for one in found}
    assert "sk-secret" not in str(found)


@pytest.mark.parametrize(("given", "seconds"), [("90", 90.0), ("1d", 86_400.0), ("1h30m", 5400.0)])
def test_a_ttl_is_seconds_or_a_duration(given: str, seconds: float) -> None:
    context = ask.make_context("ask", ["--ttl", given, "RSI?"])
    assert seconds == context.params["ttl"]


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "soon", "1y"])
def test_what_is_no_duration_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter):
        ask.make_context("ask", ["--ttl", given, "RSI?"])
