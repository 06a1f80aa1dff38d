"""Costs with llm and persist in one application: one table, nothing lost, nothing counted twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw_llm import AnswerStream, LlmPlugin
from argo_mw_llm.costs.cost_file import COSTS, read
from argo_mw_persist import PersistPlugin, Query, store_of
from argo_mw_sandbox import Change, Fault, Sandbox, SandboxConfig, SandboxProcess

HANGS = 120.0
"""Seconds after which a command hangs, on a busy machine."""
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
    """Into the same table as all others, so that every sum is the same."""
    sandbox.set_fault("glm", Fault("trickle", pace=0.01))
    async with opened(sandbox, persist=True) as argo:
        stream = await argo.call("complete", messages="Why?", model=MODEL, stream=True)
        assert isinstance(stream, AnswerStream)
        reader = stream.read()
        await anext(reader)
    assert [] == read(tmp_path / COSTS)
    async with opened(sandbox, persist=True) as argo:
        query = Query("SELECT status, usd, estimated FROM charges")
        [(status, usd, estimated)] = await store_of(argo).read(query)
        [spent] = await argo.call("spending")
    assert ("aborted", True) == (status, bool(estimated))
    assert usd > 0
    assert pytest.approx(usd) == spent.usd


async def test_a_streamed_answer_is_recorded_though_the_application_ends_at_once(
    sandbox: Sandbox,
) -> None:
    async with opened(sandbox, persist=True, answers=["complete"]) as argo:
        stream = await argo.call("complete", messages="Why?", model=MODEL, stream=True)
        assert isinstance(stream, AnswerStream)
        assert [piece async for piece in stream.read()]
    async with opened(sandbox, persist=True) as argo:
        [(answers,)] = await store_of(argo).read(Query("SELECT count(*) FROM answers"))
        [(charges,)] = await store_of(argo).read(Query("SELECT count(*) FROM charges"))
    assert (1, 1) == (answers, charges)


# -- the command, in processes of its own ----------------------------------------------------------


def start(state: Path, *arguments: str, out: int) -> subprocess.Popen[bytes]:
    code = "from argo_mw.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "-c", str(state / "argo.toml"), *arguments],
        cwd=state,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
    )


def ask_on_a_terminal(state: Path, prompt: str, *, leave: bool = False) -> None:
    """Ask as a person does, who may leave with Ctrl-C once the answer has begun."""
    import pty

    seen, screen = pty.openpty()
    process = start(state, "ask", "-m", MODEL, prompt, out=screen)
    try:
        if leave:
            os.read(seen, 1)
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANGS)
        assert leave or 0 == process.returncode
    finally:
        os.close(screen)
        os.close(seen)
        process.kill()
        process.communicate()


def test_every_question_on_a_terminal_has_a_row_and_all_sums_are_the_same(tmp_path: Path) -> None:
    with SandboxProcess(SandboxConfig()) as sandbox:
        file = tmp_path / "argo.toml"
        file.write_text(
            f'[argo]\nshared = "sqlite"\nstate_dir = "{tmp_path}"\n'
            f'[plugins.llm.glm]\nurl = "{sandbox.url("glm")}"\nkey = "any"\n'
            '[plugins.persist]\nanswers = ["complete"]\n'
        )
        for number in range(2):
            ask_on_a_terminal(tmp_path, f"RSI {number}?")
        sandbox.change(Change(faults={"glm": (Fault("trickle", pace=0.01),)}))
        ask_on_a_terminal(tmp_path, "RSI 2?", leave=True)
        costs = start(tmp_path, "costs", "--json", out=subprocess.PIPE)
        [row] = json.loads(costs.communicate(timeout=HANGS)[0])
    with closing(sqlite3.connect(tmp_path / "persist.db")) as database:
        rows = database.execute("SELECT status, usd FROM charges ORDER BY id").fetchall()
        [(answers,)] = database.execute("SELECT count(*) FROM answers").fetchall()
    assert ["ok", "ok", "aborted"] == [status for status, _ in rows]
    assert (3, pytest.approx(sum(usd for _, usd in rows))) == (row["calls"], row["usd"])
    assert 2 == answers
    assert [] == read(tmp_path / COSTS)


@pytest.mark.parametrize("persist", ["on", "off"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_question_that_a_signal_ends_has_a_row_and_is_in_the_budget(
    tmp_path: Path, persist: str, end: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as provider:
        provider.settimeout(HANGS)
        port = provider.getsockname()[1]
        (tmp_path / "argo.toml").write_text(
            f'[argo]\nshared = "sqlite"\nstate_dir = "{tmp_path}"\n[flags]\npersist = "{persist}"\n'
            f'[plugins.llm.glm]\nurl = "http://127.0.0.1:{port}"\nkey = "any"\n'
            '[[plugins.llm.budgets]]\nusd = 5\nper = "day"\n'
        )
        asking = start(tmp_path, "ask", "-m", MODEL, "RSI?", out=subprocess.PIPE)
        connection, _ = provider.accept()
        with connection:
            assert connection.recv(1)
            asking.send_signal(end)
            asking.communicate(timeout=HANGS)
    assert -end == asking.returncode
    told = [start(tmp_path, one, "--json", out=subprocess.PIPE) for one in ("costs", "budgets")]
    [row], [budget] = (json.loads(one.communicate(timeout=HANGS)[0]) for one in told)
    assert (1, 1, True) == (row["calls"], row["estimated_calls"], row["usd"] > 0)
    assert budget["usd"] >= row["usd"]
