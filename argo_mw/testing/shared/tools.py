"""The store under test, its handles, and how tests listen and wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
from attrs import field, frozen

from argo_mw.store.health import Ability
from argo_mw.store.protocol import Lease, Shared


@frozen
class StoreUnderTest:
    """One store, and how to open handles on it.

    Attributes:
        open: Opens one more handle, as another process would.
        advance: Lets that many seconds pass for the store.
        ttl: A time to live, in seconds, that does not end by itself during a test.
        interrupt: Breaks the connections of all handles, if the driver has any.
        timeout: Seconds until a test that waits for something fails.
        block: Lets the store take no writes inside its context, as one that another process has
            locked, or that was suspended; ``None`` where nothing can.
        limit: Seconds that an operation may take then.
        refuse: Lets the store refuse these abilities to all handles from now on, and no others, if
            that can be done.
    """

    open: Callable[[], Awaitable[Shared]]
    advance: Callable[[float], Awaitable[None]] = asyncio.sleep
    ttl: float = 60.0
    interrupt: Callable[[], Awaitable[None]] | None = None
    timeout: float = 60.0
    block: Callable[[], AbstractAsyncContextManager[None]] | None = None
    limit: float = 1.0
    refuse: Callable[[Sequence[Ability]], Awaitable[None]] | None = None


@frozen
class Listener:
    """A listener that records what it receives.

    Attributes:
        messages: The messages, in order.
        gaps: One item for each gap.
    """

    messages: list[bytes] = field(factory=list)
    gaps: list[None] = field(factory=list)

    def on_message(self, message: bytes) -> None:
        """Record *message*."""
        self.messages.append(message)

    def on_gap(self) -> None:
        """Record a gap."""
        self.gaps.append(None)


class SharedTests:
    """The fixtures of every suite for drivers."""

    @pytest.fixture
    def store(self) -> StoreUnderTest:
        """Return the store under test: the subclass overrides this."""
        raise NotImplementedError

    @pytest.fixture
    async def shared(self, store: StoreUnderTest) -> AsyncIterator[Shared]:
        """Open a handle on the store."""
        handle = await store.open()
        yield handle
        await handle.aclose()

    @pytest.fixture
    async def other(self, store: StoreUnderTest) -> AsyncIterator[Shared]:
        """Open a second handle on the same store."""
        handle = await store.open()
        yield handle
        await handle.aclose()


async def eventually(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    """Return once *condition* holds; fail when it does not within *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout} s"
        await asyncio.sleep(0.001)


async def acquire(shared: Shared, key: str, ttl: float) -> Lease:
    """Return a lease on *key* for *ttl* seconds; fail when another holder has it."""
    lease = await shared.acquire(key, ttl=ttl)
    assert lease is not None
    return lease
