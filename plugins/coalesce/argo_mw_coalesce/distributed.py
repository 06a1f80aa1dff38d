"""Distributed coalescing: one load for all processes that share a store.

The process that acquires the lease on a question loads it, and publishes the result in the store
for a few seconds, under the lease's fence; the others wait to be notified. The lease is for
efficiency, not for mutual exclusion: if its holder dies, another process loads once the lease has
run out. While the store is unreachable, every process loads for itself. An answer is never given up
because publishing it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable

from attrs import define

from argo_mw.plugin import (
    ALONE,
    Call,
    ClaimWanted,
    Closed,
    Context,
    Handover,
    Kept,
    Next,
    Outcome,
    SharedUnavailable,
    TimeLimitExceeded,
    Timer,
    fail_at,
)
from argo_mw.store import Freshness, Lease, Subscription, Write
from argo_mw_coalesce.load_start import LOAD_START, LoadStart
from argo_mw_coalesce.recency import Recency
from argo_mw_coalesce.shared_result import SharedResult, result_of, write_result

NAME = "coalesce.distributed"
CHANNEL = "argo:results"
# With the key of the call in braces, so that a store keeps lease, result and answer in one place.
_LEASE = "argo:flight:"
_RESULT = "argo:result:"
_SURELY = 0.9
"""The share of its life for which a lease counts as held, since clocks run at different speeds."""
_RENEWALS = 3
"""How often a holder renews its lease within its life."""
_FIRST_RETRY = 0.01
"""Seconds after which a waiting process first tries to acquire the lease; doubled each time.

Waiting processes are notified of results; this is for a holder that left without publishing one.
"""
_RETRIES = 8
"""How often, at least, within the life of a lease, a waiting process tries to acquire it."""
_SUBSCRIBE_AGAIN = 1.0
"""Seconds until the next attempt to subscribe, where the store refuses only that."""


@define(eq=False)
class _Held:
    """A lease that this process holds.

    Attributes:
        lease: The lease.
        until: Monotonic seconds until which no other process can have taken it over.
        renewing: The task that renews it, once that is due.
    """

    lease: Lease
    until: float
    renewing: asyncio.Task[None] | None = None


class DistributedCoalesce:
    """Makes a load the only one among the processes that share a store.

    The inner half of the plugin, just inside the point where upstreams are selected, so that the
    caches outside of it answer without waiting for a lease.

    Args:
        context: The application's context.
        lease_ttl: Seconds after which a holder that has died is replaced.
        result_ttl: Seconds for which a result is kept in the store for waiting processes.
        store_timeout: Seconds to wait for the store once there is an answer.
    """

    def __init__(
        self, context: Context, *, lease_ttl: float, result_ttl: float, store_timeout: float
    ) -> None:
        self._context = context
        self._shared = context.shared
        self._clock = context.clock
        self._lease_ttl = lease_ttl
        self._result_ttl = result_ttl
        self._store_timeout = store_timeout
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._subscribing: asyncio.Task[Subscription] | None = None
        self._judging: asyncio.Task[None] | None = None
        self._try_again_at = 0.0

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the outcome of this load, or of one elsewhere that ends after this call began."""
        start = call.extensions.get(LOAD_START)
        if not isinstance(start, LoadStart):
            return await call_next(call)
        result_key = _place(_RESULT, call, call.upstream)
        try:
            await self._subscribed()
            takes_kept = start.handover.takes_kept
            recency = Recency(start.began, self._result_ttl, takes_kept)
            found = await self._result_or_lease(result_key, recency, call)
        except SharedUnavailable:
            self._context.tag_versions.health.look()  # reports a store that refuses something
            return await call_next(call)
        if isinstance(found, SharedResult):
            self._context.announce("coalesce", "joined elsewhere", call)
            return found.unwrap()
        return await self._load(result_key, found, start, call, call_next)

    def explain(self, call: Call) -> str:
        """Describe how *call* would share its load with other processes."""
        return (
            "would load once for all processes that share the store: one holds the lease on the "
            f"question for {self._lease_ttl:g} s, the others wait for its result"
        )

    async def open(self) -> None:
        """Let looks into the store ask for leases."""
        self._context.claims.foresee = self._foresee

    async def close(self) -> None:
        """End the subscription to results."""
        if self._context.claims.foresee == self._foresee:
            self._context.claims.foresee = None
            self._context.claims.close()
        subscribing, self._subscribing = self._subscribing, None
        if subscribing is None or _has_failed(subscribing):
            return
        if subscribing.done():
            await subscribing.result().aclose()
        else:
            subscribing.cancel()

    async def _result_or_lease(
        self, result_key: str, recency: Recency, call: Call
    ) -> SharedResult | _Held:
        """Return the result at *result_key*, or the lease of the process that is to load it."""
        retry = _FIRST_RETRY
        while (found := await self._look_and_acquire(result_key, recency, call)) is None:
            result = await self._wait_for_result(result_key, recency, retry)
            if result is not None:
                return result
            retry = min(2 * retry, self._lease_ttl / _RETRIES)
        return found

    async def _look_and_acquire(
        self, result_key: str, recency: Recency, call: Call
    ) -> SharedResult | _Held | None:
        """Return the result at *result_key*, else the lease, unless another process holds that.

        The result is read after the lease was asked for: by then its last holder has published.
        """
        asked_at = self._clock.monotonic()
        lease_key = _place(_LEASE, call, call.upstream)
        claim = self._context.claims.take(lease_key)
        if claim is None:
            lease, data = await self._shared.acquire_and_get(
                lease_key, result_key, ttl=self._lease_ttl
            )
        else:
            lease, data, asked_at = claim.lease, claim.result, claim.asked_at
        held = None if lease is None else _Held(lease, self._surely_until(asked_at))
        try:
            result = await self._recent(await self._decoded(result_key, data), recency)
            if result is None:
                found, held = held, None
                return found
            return result
        finally:
            if held is not None:
                self._release_in_background(result_key, held.lease)

    def _surely_until(self, asked_at: float) -> float:
        """Return the time up to which a lease that was asked for at *asked_at* counts as held."""
        return asked_at + _SURELY * self._lease_ttl

    def _foresee(self, call: Call) -> ClaimWanted | None:
        """Return which lease and result a load of *call* asks for, if its upstream is certain."""
        if call.refresh or call.operation.kind == "compute" or call.extensions.get(ALONE) is True:
            return None
        heard = self._subscribing
        hears = heard is not None and heard.done() and not _has_failed(heard)
        upstreams = self._context.upstreams(call)
        if not hears or len(upstreams) != 1 or not self._context.flag("coalesce", call).on:
            return None
        lease, result = (_place(kind, call, upstreams[0].name) for kind in (_LEASE, _RESULT))
        return ClaimWanted(lease, result, self._lease_ttl)

    # -- holding the lease -------------------------------------------------------------------

    async def _load(
        self, result_key: str, held: _Held, start: LoadStart, call: Call, call_next: Next
    ) -> Outcome:
        result = SharedResult()
        renewal = self._renew_later(held)
        try:
            outcome = await call_next(call)
            result = self._result(start, outcome=outcome)
            self._agree(start, call)
        except Exception as error:
            result = self._result(start, error=error)
            raise
        finally:
            # Publishing also releases the lease, so it starts even if this caller was cancelled.
            renewal.cancel()
            if held.renewing is not None:
                held.renewing.cancel()
            publishing = self._publish_in_background(result_key, held.lease, result, start.handover)
            if result.error is not None:
                await asyncio.shield(publishing)
        if self._clock.monotonic() < held.until:
            return outcome  # no other process can have loaded it, so the caller need not wait
        superseded = await asyncio.shield(publishing) is False
        newer = await self._newer_outcome(result_key, held.lease) if superseded else None
        return outcome if newer is None else newer

    def _renew_later(self, held: _Held) -> Timer:
        """Start renewing the lease after a third of its life; most loads have ended by then."""
        due = self._clock.monotonic() + self._lease_ttl / _RENEWALS
        return self._clock.call_at(due, lambda: self._start_renewing(held))

    def _start_renewing(self, held: _Held) -> None:
        with contextlib.suppress(Closed):
            held.renewing = self._context.tasks.spawn(
                f"coalesce:renew:{held.lease.key}", self._renew(held)
            )

    async def _renew(self, held: _Held) -> None:
        while True:
            until = self._surely_until(self._clock.monotonic())
            with contextlib.suppress(SharedUnavailable):
                if not await self._shared.renew(held.lease, ttl=self._lease_ttl):
                    return
                held.until = until
            await self._clock.sleep(self._lease_ttl / _RENEWALS)

    def _agree(self, start: LoadStart, call: Call) -> None:
        """Let an outer cache answer its caller before the store has the answer, where that is safe.

        It is safe if other processes look for this lease and result until then. If several
        upstreams can answer, they may look for those of another one. If the lease may have been
        lost, the result is published before the cache has the answer, which ends the agreement.
        """
        if len(self._context.upstreams(call)) == 1:
            start.handover.open()

    def _publish_in_background(
        self, result_key: str, lease: Lease, result: SharedResult, handover: Handover
    ) -> asyncio.Future[bool | None]:
        return self._context.tasks.finish(
            f"coalesce:publish:{lease.key}", self._publish(result_key, lease, result, handover)
        )

    def _result(
        self, start: LoadStart, *, outcome: Outcome | None = None, error: Exception | None = None
    ) -> SharedResult:
        return SharedResult(outcome, error, self._clock.time(), start.tag_snapshot.versions)

    async def _publish(
        self, result_key: str, lease: Lease, result: SharedResult, handover: Handover
    ) -> bool:
        """Publish *result*, notify waiting processes and release the lease.

        Return False when another process has taken the lease over, because this one stalled.
        """
        # This task begins after the cache has said until when it keeps the answer, and before a
        # caller has the answer and could change it.
        kept = handover.close()
        if kept is not None:
            result = result.as_kept(kept)
        settled = False
        deadline = self._clock.monotonic() + self._store_timeout
        try:
            settling = self._settle(result_key, lease, result, kept)
            first = await fail_at(settling, deadline, self._clock)
            settled = True
            return first
        except SharedUnavailable:
            self._context.tag_versions.health.look()
        except TimeLimitExceeded:
            why = f"the shared store took longer than {self._store_timeout:g} s"
            self._context.warn_once("coalesce", f"a result could not be published: {why}")
        finally:
            if kept is not None:
                kept.ended(settled)
        self._release_in_background(result_key, lease)
        return True

    def _settle(
        self, result_key: str, lease: Lease, result: SharedResult, kept: Kept | None
    ) -> Coroutine[object, object, bool]:
        """Store *result*, beside it the answer that is to be *kept*, and release *lease*."""
        also = None if kept is None or not kept.key else Write(kept.key, kept.data, kept.ttl)
        return self._shared.settle(
            lease,
            result_key,
            write_result(self._context.codecs, result_key, lease.fence, result),
            ttl=self._result_ttl,
            channel=CHANNEL,
            message=result_key.encode(),
            also=also,
        )

    async def _notify(self, result_key: str) -> None:
        """Wake waiting processes; if the message is lost, they look again by themselves."""
        try:
            await self._shared.publish(CHANNEL, result_key.encode())
        except SharedUnavailable:
            self._context.tag_versions.health.look()

    async def _newer_outcome(self, result_key: str, lease: Lease) -> Outcome | None:
        """Return the later holder's outcome, so that no cache replaces it with this older one."""
        with contextlib.suppress(SharedUnavailable):
            result = await self._read(result_key)
            valid = await self._freshness(result) is not Freshness.MISS
            if result.fence > lease.fence and valid:
                return result.outcome
        return None

    def _release_in_background(self, result_key: str, lease: Lease) -> None:
        """Release *lease* once the store is reachable, so that no process waits for its expiry."""
        self._context.give_backs.start(
            f"coalesce:release:{lease.key}",
            lambda: self._release(result_key, lease),
            seconds=self._lease_ttl,
            idempotent=True,
        )

    async def _release(self, result_key: str, lease: Lease) -> None:
        await self._shared.release(lease)
        await self._notify(result_key)

    # -- waiting for another process ---------------------------------------------------------

    async def _wait_for_result(
        self, result_key: str, recency: Recency, seconds: float
    ) -> SharedResult | None:
        """Wait for a result, or for *seconds*."""
        notified: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(result_key, set()).add(notified)
        try:
            # The result may have come just before this process began to wait for notifications.
            result = await self._find_result(result_key, recency)
            if result is not None:
                return result
            retry = self._clock.monotonic() + seconds
            with contextlib.suppress(TimeLimitExceeded):
                await fail_at(_wait(notified), retry, self._clock)
        finally:
            waiting = self._waiting[result_key]
            waiting.discard(notified)
            if not waiting:
                del self._waiting[result_key]
        return await self._find_result(result_key, recency)

    async def _find_result(self, result_key: str, recency: Recency) -> SharedResult | None:
        """Return the result at *result_key*, if it is recent enough and still valid."""
        return await self._recent(await self._read(result_key), recency)

    async def _recent(self, result: SharedResult, recency: Recency) -> SharedResult | None:
        """Return *result*, if it is recent enough and still valid."""
        recent = recency.accepts(result)
        if result.empty:
            return None
        if recent:
            valid = await self._freshness(result) is not Freshness.MISS
        elif recency.accepts_kept(result, self._clock.time()):
            valid = await self._freshness(result) is Freshness.FRESH
        else:
            valid = False
        return result if valid else None

    async def _read(self, result_key: str) -> SharedResult:
        return await self._decoded(result_key, await self._shared.get(result_key))

    async def _decoded(self, result_key: str, data: bytes | None) -> SharedResult:
        if data is None:
            return SharedResult()
        return result_of(await self._context.codecs.decode_off_loop(data, result_key))

    async def _freshness(self, result: SharedResult) -> Freshness:
        """Return whether the tags of *result* have changed since its load began.

        It is a miss too if it passed a layer that is killed in this process and was not yet in the
        process that loaded it.
        """
        tag_versions = self._context.tag_versions
        if result.outcome is not None and not tag_versions.banned.isdisjoint(result.outcome.tags):
            return Freshness.MISS
        try:
            tag_snapshot = tag_versions.adopt(result.versions)
        except ValueError:
            return Freshness.MISS
        return await tag_versions.check(tag_snapshot)

    async def _subscribed(self) -> None:
        """Return once this process is notified of results; all calls share one subscription."""
        subscribing = self._subscribing
        if subscribing is None or _has_failed(subscribing):
            if self._clock.monotonic() < self._try_again_at:
                msg = "results of other processes cannot be received"
                raise SharedUnavailable(msg)
            subscribing = self._context.tasks.spawn("coalesce:subscribe", self._subscribe())
            self._subscribing = subscribing
        if not subscribing.done():
            await asyncio.shield(subscribing)

    async def _subscribe(self) -> Subscription:
        try:
            return await self._shared.subscribe(CHANNEL, self._on_result, self._on_gap)
        except SharedUnavailable:
            if self._judging is None or self._judging.done():
                with contextlib.suppress(Closed):
                    self._judging = self._context.tasks.spawn("coalesce:judge", self._judge())
            raise

    async def _judge(self) -> None:
        """Report that this channel is refused, if the store refuses nothing else."""

        async def subscribe() -> None:
            heard = await self._shared.subscribe(CHANNEL, self._on_result, self._on_gap)
            await heard.aclose()

        what = "results of other processes cannot be received, so each process loads for itself"
        if await self._context.report_refusal("coalesce", what, subscribe):
            self._try_again_at = self._clock.monotonic() + _SUBSCRIBE_AGAIN

    def _on_result(self, message: bytes) -> None:
        _wake(self._waiting.get(message.decode("utf-8", "replace"), ()))

    def _on_gap(self) -> None:
        for waiting in self._waiting.values():
            _wake(waiting)


def _place(kind: str, call: Call, upstream: str | None) -> str:
    """Return the store's key of the lease or result, by *kind*, of *call* to *upstream*."""
    return f"{kind}{{{call.key}}}" if upstream is None else f"{kind}{{{call.key}}}@{upstream}"


def _has_failed(task: asyncio.Task[Subscription]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for notified in waiting:
        if not notified.done():
            notified.set_result(None)


async def _wait(notified: asyncio.Future[None]) -> None:
    await notified
