"""Operations of Shared that take several steps where a store cannot do them at once."""

from __future__ import annotations

from argo_mw.store.protocol import Lease, Shared, Write


async def acquire_then_get(
    shared: Shared, key: str, wanted: str, *, ttl: float
) -> tuple[Lease | None, bytes | None]:
    """Acquire *key* of *shared* for *ttl* seconds, then read *wanted*, in two steps.

    A driver whose store cannot do both at once implements
    :meth:`~argo_mw.store.Shared.acquire_and_get` with it.

    Raises:
        SharedUnavailable: As for :meth:`~argo_mw.store.Shared.acquire` and ``get``.
    """
    lease = await shared.acquire(key, ttl=ttl)
    try:
        return lease, await shared.get(wanted)
    except BaseException:
        if lease is not None:
            await shared.release(lease)
        raise


async def get_then_acquire(
    shared: Shared, key: str, lease: str, wanted: str, *, ttl: float
) -> tuple[bytes | None, Lease | None, bytes | None]:
    """Return the value at *key* of *shared*; if there is none, acquire *lease* and read *wanted*.

    The lease is for *ttl* seconds. A driver whose store cannot do both at once implements
    :meth:`~argo_mw.store.Shared.get_or_acquire` with it.

    Raises:
        SharedUnavailable: As for ``get`` and ``acquire_and_get``.
    """
    value = await shared.get(key)
    if value is not None:
        return value, None, None
    return None, *await shared.acquire_and_get(lease, wanted, ttl=ttl)


async def settle_in_steps(
    shared: Shared,
    lease: Lease,
    key: str,
    value: bytes,
    *,
    ttl: float | None,
    channel: str,
    message: bytes,
    also: Write | None = None,
) -> bool:
    """Store *value* at *key* of *shared*, release *lease*, and send *message* on *channel*.

    The value is kept for *ttl* seconds; *also* is stored before the release. A driver whose store
    cannot do all at once implements :meth:`~argo_mw.store.Shared.settle` with it.

    Raises:
        SharedUnavailable: As for the steps.
    """
    stored = await shared.set_fenced(key, value, lease, ttl=ttl)
    if also is not None:
        await shared.set(also.key, also.value, ttl=also.ttl)
    await shared.release(lease)
    await shared.publish(channel, message)
    return stored
