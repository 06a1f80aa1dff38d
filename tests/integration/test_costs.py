"""Costs with llm and persist in one application: one table, nothing lost, nothing counted twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw_llm import AnswerStream, LlmPlugin
from argo_mw_llm.cost_file import COSTS, read
from argo_mw_persist import PersistPlugin, Query, store_of
from argo_mw_sandbox import Fault, Sandbox, SandboxConfig

MODEL = "glm-5.3"
CHARGES = "SELECT status, model, usd, tokens_out FROM charges"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxConfig()) as running:
        yield running


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


def opened(sandbox: Sandbox, *, persist: bool, **keys: object) -> Argo:
    tables: dict[str, object] = {"llm": {"glm": {"url": sandbox.url("glm"), "key": "any"}}}
    plugins: dict[str, object] = {"llm": LlmPlugin}
    if persist:
        tables["persist"] = {"on_sigterm": False, **keys}
        plugins["persist"] = PersistPlugin
    config = {"argo": {"shared": "memory://", "strict": True}, "plugins": tables}
    return Argo.open(config, plugins=plugins, installed=False)


async def ask(argo: Argo, number: int) -> None:
    await argo.call("complete", messages=f"RSI {number}?", model=MODEL)


async def test_a_request_is_recorded_in_one_table_whichever_plugins_are_installed(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with opened(sandbox, persist=False) as argo:
        await ask(argo, 1)
    assert 1 == len(read(tmp_path / COSTS))
    async with opened(sandbox, persist=True) as argo:
        await ask(argo, 2)
        store = store_of(argo)
        await store.flush()
        [(status, model, usd, tokens_out)] = await store.read(Query(CHARGES))
        counted = sandbox.counts_of("glm").output_tokens
        [first] = read(tmp_path / COSTS)
        assert ("ok", MODEL, counted) == (status, model, first.cost.tokens_out + tokens_out)
        # What was recorded before persist was installed counts too, once.
        totals = await engine_of(argo).costs.totals(0.0)
        assert 2 == sum(one.calls for one in totals)
        assert pytest.approx(sum(one.usd for one in totals)) == first.cost.usd + usd
        [spent] = await argo.call("spending")
        assert (1, pytest.approx(usd)) == (spent.calls, spent.usd)


async def test_llm_stands_in_where_persist_keeps_no_costs(sandbox: Sandbox, tmp_path: Path) -> None:
    async with opened(sandbox, persist=True, costs=False) as argo:
        await ask(argo, 1)
    assert ["ok"] == [charge.status for charge in read(tmp_path / COSTS)]


async def test_a_stream_that_the_end_of_the_application_cuts_off_is_recorded(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Persist is closed by then, so the charge goes to the table that stands in."""
    sandbox.set_fault("glm", Fault("trickle", pace=0.01))
    async with opened(sandbox, persist=True) as argo:
        stream = await argo.call("complete", messages="Why?", model=MODEL, stream=True)
        assert isinstance(stream, AnswerStream)
        reader = stream.read()
        await anext(reader)
    [charge] = read(tmp_path / COSTS)
    assert ("aborted", True) == (charge.status, charge.cost.estimated)
    assert charge.cost.usd
