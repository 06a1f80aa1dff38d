"""Clients in other languages: curl, and the SDKs for Node."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from argo_mw_sandbox import Sandbox

from .conftest import MESSAGE, Start
from .test_gateway_sdks import counted, tokens_of

SDKS = ("@anthropic-ai/sdk@1.14.0", "openai@6.49.0")
ASK = Path(__file__).with_name("ask.mjs")


async def output_of(*command: str, folder: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert 0 == process.returncode, errors.decode()
    return out.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_asks_and_reads_a_stream(sandbox: Sandbox, start: Start) -> None:
    async with start() as running:
        ask = ["curl", "-sS", "-i", f"{running.url}/v1/messages"]
        ask += ["-H", f"x-api-key: {running.key()}", "-H", "anthropic-version: 2023-06-01"]
        whole = await output_of(*ask, "-d", json.dumps(MESSAGE))
        streamed = await output_of(*ask, "-N", "-d", json.dumps({**MESSAGE, "stream": True}))
        assert tokens_of(running) == counted(sandbox, "claude")
    assert "argo-mw-served-by: claude" in whole
    assert '"stop_reason": "end_turn"' in whole
    assert streamed.rstrip().endswith('data: {"type": "message_stop"}')


@pytest.fixture
async def node(tmp_path: Path) -> Path:
    """A folder with the SDKs for Node; skips the test where they cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    process = await asyncio.create_subprocess_exec(
        *("npm", "install", "--no-audit", "--no-fund", "--silent", *SDKS),
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        pytest.skip("npm cannot install the SDKs")
    shutil.copy(ASK, tmp_path)
    return tmp_path


@pytest.mark.soak
async def test_the_sdks_for_node_ask_everything_and_a_second_equal_call_costs_nothing(
    sandbox: Sandbox, start: Start, node: Path
) -> None:
    async with start() as running:
        printed = await output_of("node", "ask.mjs", running.url, running.key(), folder=node)
        assert tokens_of(running) == counted(sandbox, "claude", "deepseek", "openai")
    answers = json.loads(printed)
    assert all(first == again for first, again in answers.values()), answers
    assert answers["message"] == answers["message_stream"]
    assert answers["chat"] == answers["chat_stream"]
    assert [400, 400] == answers["error"]
    requests = {name: sandbox.counts_of(name).requests for name in ("deepseek", "openai")}
    assert {"deepseek": 2, "openai": 2} == requests
