"""A shared store that can never be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.protocol import Count, Lease, Subscription, Witness, Write


class UnreachableStore:
    """A :class:`~argo_mw.plugin.Shared` of which every method raises ``SharedUnavailable``."""

    async def get(self, key: str) -> bytes | None:
        _refuse()

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        _refuse()

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        _refuse()

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        _refuse()

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        _refuse()

    async def delete(self, keys: Sequence[str]) -> int:
        _refuse()

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        _refuse()

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        epoch: int | None = None,
        witness: Witness | None = None,
    ) -> Count:
        _refuse()

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        _refuse()

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        _refuse()

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        _refuse()

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        _refuse()

    async def release(self, lease: Lease) -> bool:
        _refuse()

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        _refuse()

    async def settle(
        self,
        lease: Lease,
        key: str,
        value: bytes,
        *,
        ttl: float | None,
        channel: str,
        message: bytes,
        also: Write | None = None,
    ) -> bool:
        _refuse()

    async def publish(self, channel: str, message: bytes) -> None:
        _refuse()

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> Subscription:
        _refuse()

    async def scan(self, prefix: str) -> Sequence[str]:
        _refuse()

    async def aclose(self) -> None:
        """Do nothing: nothing was opened."""


def _refuse() -> NoReturn:
    msg = "the store cannot be reached: it is unreachable:// on purpose"
    raise SharedUnavailable(msg)
