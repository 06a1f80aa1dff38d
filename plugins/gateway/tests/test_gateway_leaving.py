"""The block that ends with its client."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from argo_mw.testing.shared import eventually
from argo_mw_gateway import leaving
from argo_mw_gateway.leaving import EndsWithClient


@pytest.fixture
def without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collections")
async def test_a_request_whose_client_was_watched_leaves_nothing_for_the_garbage_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full collection holds up all requests; each answer of a model takes long enough."""
    monkeypatch.setattr(leaving, "_LOOK_AFTER", 0.0)
    watching = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        watching.set()
        await asyncio.Event().wait()
        raise AssertionError

    block = EndsWithClient(receive)
    left = weakref.ref(block)
    async with block:
        await watching.wait()
    del block
    await eventually(lambda: left() is None)
