"""The doctor says which providers have a key that can be sent."""

from __future__ import annotations

import pytest
import structlog

from argo_mw import Argo
from argo_mw.cli.doctor import examine
from argo_mw_llm.plugin import LlmPlugin


@pytest.fixture(autouse=True)
def _log_of_the_program():
    """The doctor captures the log, and leaves structlog configured."""
    yield
    structlog.reset_defaults()


async def found_about(table: dict[str, object]) -> dict[str, tuple[bool, str]]:
    config = {"argo": {"shared": "memory://"}, "plugins": {"llm": table}}
    async with Argo.open(config, plugins={"llm": LlmPlugin}, installed=False) as argo:
        findings = [one for one in await examine(argo) if one.where == "llm"]
    return {one.what: (one.well, one.found) for one in findings}


async def test_every_provider_without_a_key_is_named_with_the_remedy(monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-1")
    found = await found_about({"glm": {"key": "glm-1"}})
    assert (True, "has a key") == found["upstream claude"]
    assert (True, "has a key") == found["upstream glm"]
    expected = "has no key: set DEEPSEEK_API_KEY, or key in [plugins.llm.providers.deepseek]"
    assert (False, expected) == found["upstream deepseek"]
    assert not found["upstream qwen"][0]


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-\u00e9", "sk\t1"])
async def test_a_key_that_cannot_be_sent_is_named_and_not_shown(monkeypatch, key: str) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", key)
    well, text = (await found_about({}))["upstream deepseek"]
    assert not well
    assert "copy it again" in text
    assert key not in text
