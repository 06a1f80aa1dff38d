"""Sandboxes and clients for the tests."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from argo_mw_sandbox import Sandbox, SandboxConfig

KEYS = {
    "APCA-API-KEY-ID": "key",
    "APCA-API-SECRET-KEY": "secret",
    "Authorization": "Bearer key",
    "X-Api-Key": "key",
}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox that holds its clock a minute after the last real day."""
    async with Sandbox(SandboxConfig(speed=0)) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a key of every vendor."""
    # Certificates take longer to read than most of these tests; nothing here is asked for one.
    async with httpx2.AsyncClient(headers=KEYS, verify=False) as made:
        yield made
