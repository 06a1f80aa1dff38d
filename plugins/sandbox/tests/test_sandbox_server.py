"""The sandbox as a whole: its own endpoints, its process, its command."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import httpx2
import pytest
from click.testing import CliRunner

import argo_mw_sandbox
from argo_mw_sandbox import (
    Change,
    Fault,
    Latency,
    Quota,
    Sandbox,
    SandboxConfig,
    SandboxProcess,
)
from argo_mw_sandbox.plugin import read_faults, sandbox

BARS = "/v2/stocks/bars?symbols=AAPL,IBM&timeframe=1Day&start=2013-02-01"


async def test_counts_are_kept_for_each_vendor_and_symbol(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    for _ in range(3):
        await client.get(sandbox.url("alpaca") + BARS)
    counts = (await client.get(sandbox.url() + "/__counts")).json()
    assert counts == sandbox.counts()
    assert tuple(counts["alpaca"][name] for name in ("requests", "answered", "unanswered")) == (
        3,
        3,
        0,
    )
    assert counts["alpaca"]["symbols"] == {"AAPL": 3, "IBM": 3}
    assert counts["massive"]["requests"] == 0


async def test_the_admin_endpoint_sets_everything(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    change = {
        "faults": {"alpaca": [{"kind": "rate_limit", "times": 1}]},
        "latency": {"massive": {"median": 0.5, "sigma": 0.2}},
        "quotas": {"glm": {"per_minute": 3}},
        "now": "2012-11-16T20:00:00Z",
        "speed": 0,
        "reset_counts": True,
    }
    response = await client.post(sandbox.url() + "/__admin", json=change)
    state = response.json()
    assert state["now"] == "2012-11-16T20:00:00+00:00"
    assert state["vendors"]["alpaca"]["faults"][0]["kind"] == "rate_limit"
    assert state["vendors"]["massive"]["latency"]["median"] == 0.5
    assert state["vendors"]["glm"]["quota"]["per_minute"] == 3
    assert state == (await client.get(sandbox.url() + "/__admin")).json()
    assert (await client.get(sandbox.url("alpaca") + BARS)).status_code == 429
    cleared = await client.post(sandbox.url() + "/__admin", json={"clear_faults": ["all"]})
    assert cleared.json()["vendors"]["alpaca"]["faults"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "cannot read the admin request"),
        (b"[]", "cannot read the admin request"),
        (b'{"falts": {}}', "falts"),
        (b'{"now": "soon"}', "cannot read 'soon' as a date"),
        (b'{"faults": {"alpca": [{"kind": "reset"}]}}', "no vendor 'alpca'"),
        (b'{"faults": {"alpaca": [{"kind": "rest"}]}}', "did you mean 'reset'"),
        (b'{"latency": {"alpaca": {"median": -1}}}', "median"),
    ],
)
async def test_a_wrong_admin_request_says_what_is_wrong(
    sandbox: Sandbox, client: httpx2.AsyncClient, body: bytes, message: str
) -> None:
    response = await client.post(sandbox.url() + "/__admin", content=body)
    assert response.status_code == 400
    assert message in response.json()["error"]


async def test_symbols_are_listed_with_their_source(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    listed = {s["symbol"]: s for s in (await client.get(sandbox.url() + "/__symbols")).json()}
    assert len(listed) == 205
    assert (listed["AAPL"]["source"], listed["AAPL"]["minutes"]) == ("real", "bridge")
    assert (listed["BTC-USD"]["source"], listed["BTC-USD"]["market"]) == ("synthetic", "crypto")


async def test_an_unknown_path_says_what_there_is(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    response = await client.get(sandbox.url() + "/polygon/v2/aggs")
    assert response.status_code == 404
    assert "/alpaca, /massive" in response.json()["error"]


def test_only_loopback_addresses_are_served() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(SandboxConfig(host="0.0.0.0"))


@pytest.mark.parametrize(
    "config",
    [
        SandboxConfig(latency={"alpca": Latency()}),
        SandboxConfig(quotas={"alpca": Quota()}),
        SandboxConfig(faults={"alpca": (Fault("reset"),)}),
    ],
)
def test_an_unknown_vendor_is_refused(config: SandboxConfig) -> None:
    with pytest.raises(ValueError, match="no vendor 'alpca'"):
        Sandbox(config)


async def test_closing_drops_what_is_in_flight_and_leaves_nothing(
    client: httpx2.AsyncClient,
) -> None:
    before = asyncio.all_tasks()
    async with Sandbox(SandboxConfig(faults={"alpaca": (Fault("stall"),)})) as sandbox:
        asking = asyncio.create_task(client.get(sandbox.url("alpaca") + BARS))
        await sandbox.until(lambda: sandbox.counts_of("alpaca").requests == 1)
    with pytest.raises(httpx2.HTTPError):
        await asking
    assert sandbox.counts_of("alpaca").disconnects == 0
    await sandbox.idle()
    assert before == asyncio.all_tasks()


async def test_a_connection_that_is_lost_while_writing_is_a_disconnect_and_no_log_entry(
    sandbox: Sandbox,
    client: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def lose(*_: object) -> None:
        msg = "Cannot write to closing transport"
        raise ConnectionResetError(msg)

    monkeypatch.setattr("argo_mw_sandbox.server.send", lose)
    await client.get(sandbox.url("alpaca") + BARS)
    counts = sandbox.counts_of("alpaca")
    assert (counts.disconnects, counts.answered, counts.in_flight) == (1, 0, 0)
    assert caplog.records == []


async def test_after_1000_mixed_faults_the_counts_add_up(client: httpx2.AsyncClient) -> None:
    mixed = ("reset", "cut", "rate_limit", "garbage", "empty", "server_error", "stall")
    faults = tuple(Fault(kind, share=0.04) for kind in mixed)
    async with Sandbox(SandboxConfig(faults={"alpaca": faults}, seed=5)) as sandbox:
        counts = sandbox.counts_of("alpaca")

        async def ask() -> int:
            try:
                return (await client.get(sandbox.url("alpaca") + BARS)).status_code
            except httpx2.TransportError:
                return 0

        ended: list[int | BaseException] = []
        for _ in range(20):
            asking = {asyncio.create_task(ask()) for _ in range(50)}
            stalled = counts.faults["stall"]
            received = counts.requests + 50
            while counts.requests < received or len(asking) > counts.faults["stall"] - stalled:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                ended += [task.result() for task in done]
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await sandbox.idle()
        assert counts.requests == counts.answered + counts.broken + counts.disconnects == 1000
        assert counts.disconnects == counts.faults["stall"]
        assert counts.broken == counts.faults["reset"] + counts.faults["cut"]
        assert ended.count(0) == counts.broken
        assert ended.count(200) + ended.count(429) + ended.count(500) == counts.answered


def test_a_process_of_its_own_is_controlled_from_outside() -> None:
    config = SandboxConfig(now=datetime(2012, 11, 16, 20, tzinfo=UTC), speed=0)
    with SandboxProcess(config) as sandbox:
        headers = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
        request = Request(sandbox.url("alpaca") + BARS.replace("2013", "2012"), headers=headers)
        with urlopen(request) as response:
            assert json.load(response)["bars"]["AAPL"][-1]["t"] == "2012-11-16T05:00:00Z"
        sandbox.change(Change(faults={"alpaca": (Fault("rate_limit"),)}))
        with pytest.raises(HTTPError, match="429"):
            urlopen(request)
        assert sandbox.counts()["alpaca"]["requests"] == 2
        pid = sandbox.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_cannot_start_says_why() -> None:
    config = SandboxConfig(faults={"alpaca": (Fault("rest"),)})
    with pytest.raises(RuntimeError, match="did you mean 'reset'"), SandboxProcess(config):
        pass


def test_a_child_ends_with_its_parent() -> None:
    code = (
        "import os; from argo_mw_sandbox import SandboxProcess\n"
        "print(SandboxProcess().__enter__().url(), flush=True); input(); os._exit(1)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        url = urlsplit(parent.stdout.readline().decode().strip())
        with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((url.hostname, url.port), timeout=30)


def test_the_sandbox_runs_on_its_own_until_it_is_stopped() -> None:
    command = [sys.executable, "-m", "argo_mw_sandbox", "--port", "0", "--now", "2012-11-16"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        greeting = [process.stdout.readline() for _ in range(8)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert "replaying 2012-11-16 00:00:00 UTC" in greeting[0]
    assert "/glm" in greeting[-1]


def test_the_public_names_are_all_there() -> None:
    assert sorted(argo_mw_sandbox.__all__) == sorted(argo_mw_sandbox._HOMES)
    for name in argo_mw_sandbox.__all__:
        assert getattr(argo_mw_sandbox, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Sandbax'"):
        _ = argo_mw_sandbox.Sandbax  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--now", "soon"], "cannot read 'soon' as a date"),
        (["--speed", "-1"], "cannot run at speed -1.0"),
        (["--fault", "alpaca"], "write VENDOR:KIND"),
        (["--fault", "alpaca:reset:x"], "write VENDOR:KIND"),
        (["--fault", "alpaca:rest"], "did you mean 'reset'"),
        (["--data", "/nowhere"], "does not exist"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(sandbox, arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_command_names_a_port_that_is_taken() -> None:
    with SandboxProcess() as taken:
        port = taken.url().rpartition(":")[2]
        result = CliRunner().invoke(sandbox, ["--port", port])
    assert result.exit_code == 1
    assert f"cannot listen on port {port}" in result.output


def test_faults_are_read_from_the_command_line() -> None:
    read = read_faults(("glm:reset", "glm:rate_limit:0.1"))
    assert {"glm": (Fault("reset"), Fault("rate_limit", share=0.1))} == read
