"""What must hold of answers, errors, quotas, budgets, leases and tasks."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import cast

from attrs import define

from argo_mw import ArgoError, BadCall, DeadlineExceeded, Outcome
from argo_mw.plugin import Clock
from argo_mw.store.memory_store import MemoryStore
from argo_mw_llm import Completion
from argo_mw_llm.budgets.bookings import STOPPED
from tests.model.answers import cell_of, spoil, stamp_of
from tests.model.hostile import HostileModel, Vendor
from tests.model.store import Link

BUDGET = 0.045
"""US dollars that all tenants may spend; each may spend two thirds of it."""

_HOLD = 0.02
"""More than one request of a language model holds, in US dollars."""
_NANO = 1e-9
_KEPT = 24


class Violation(AssertionError):
    """A promise was broken."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")


@define(eq=False)
class Asked:
    """A call under way, and what its answer must be."""

    task: asyncio.Task[Outcome]
    instance: int
    operation: str
    symbol: str
    tenant: str
    began: float
    since: float
    until: float
    floor: int
    max_age: float | None


class Promises:
    """Compares what callers got, and what the store holds, with what was promised.

    Args:
        clock: The time.
        store: What both instances share.
        links: Each instance's link to it.
        vendors: The upstreams of prices and notes.
        model: The language model.
    """

    def __init__(
        self,
        clock: Clock,
        store: MemoryStore,
        links: Sequence[Link],
        vendors: Sequence[Vendor],
        model: HostileModel,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self._clock = clock
        self._store = store
        self._links = links
        self._vendors = vendors
        self._model = model
        self._held: deque[tuple[object, float]] = deque(maxlen=_KEPT)
        self._errors: deque[BaseException] = deque(maxlen=_KEPT)
        self._marks = 0
        self._overran = False
        self._stopped = False
        self._seen: Violation | None = None

    def sent(self, upstream: str) -> None:
        """Count a request that has arrived, which must have been paid for."""
        self.requests[upstream] += 1
        if upstream == "claude":
            try:
                self._check_budgets_at_sending()
            except Violation as violation:
                # Raised here, it would be the upstream's failure.
                self._seen = self._seen or violation

    def overrun(self) -> None:
        """Expect that no more is sent, once all is settled, if the store can hear of it."""
        if all(link.state in ("up", "slow", "late") for link in self._links):
            self._overran = True

    def check(self) -> None:
        """Check what callers hold, and what is counted."""
        if self._seen is not None:
            raise self._seen
        self._check_held()
        self._check_quotas()
        self._check_budgets()

    def check_waiting(self, one: Asked) -> None:
        """Check a caller that has no answer yet."""
        if self._clock.monotonic() > one.until:
            raise Violation("deadline", f"{one.operation} still waits past its timeout")

    def check_quiet(self) -> None:
        """Check that nothing is left of calls that have ended."""
        self._stopped = self._overran
        now = self._clock.monotonic()
        orphans = self._links[0].orphans | self._links[1].orphans
        held = {key for key, lease in self._store.leases.items() if lease.expires > now}
        if held - orphans:
            raise Violation("lease", f"no call is under way, and {sorted(held - orphans)} are held")
        for name in ("left", "right", "claude"):
            self._check_quota_is_given_back(name)
        self._check_money_is_given_back()

    def check_end(self, one: Asked) -> None:
        """Check what a caller got that no longer waits."""
        if one.task.cancelled():
            return
        error = one.task.exception()
        if error is not None:
            self._check_error(one, error)
            return
        outcome = one.task.result()
        if one.max_age is not None and outcome.as_of is not None:
            age = min(one.began, self._clock.time()) - outcome.as_of
            if age > one.max_age + 0.001:
                raise Violation("age", f"{one.operation} is {age:.3f} s old, not {one.max_age}")
        if isinstance(outcome.value, Completion):
            owner, _, prompt = outcome.value.text.partition("|")
            if (owner, prompt) != (one.tenant, one.symbol):
                raise Violation("tenant", f"{one.tenant} got {outcome.value.text!r}")
            return
        self._check_answer(one, outcome.value)

    def _check_answer(self, one: Asked, value: object) -> None:
        stamp = stamp_of(value)
        if (stamp.operation, stamp.symbol) != (one.operation, one.symbol):
            raise Violation("question", f"{one.operation} {one.symbol} got {stamp}")
        if stamp.owner not in ("", one.tenant) or (one.operation != "quote" and not stamp.owner):
            raise Violation("tenant", f"{one.operation} of {one.tenant} got {stamp}")
        if stamp.version < one.floor:
            raise Violation("invalidated", f"{stamp}, invalidated before {one.floor}")
        if cell_of(value) != 0.0:
            raise Violation("copy", f"{one.operation} came with a mark of another caller")
        self._marks += 1
        spoil(value, float(self._marks))
        self._held.append((value, float(self._marks)))

    def _check_error(self, one: Asked, error: BaseException) -> None:
        if not isinstance(error, ArgoError):
            raise Violation("error", f"{one.operation} raised {error!r}")
        if isinstance(error, BadCall):
            raise Violation("error", f"{one.operation} was asked well, and raised {error!r}")
        if isinstance(error, DeadlineExceeded) and "shutdown" in str(error):
            raise Violation("error", f"nothing is shut down: {error}")
        if any(error is known for known in self._errors):
            raise Violation("own error", f"two callers got one object: {error!r}")
        self._errors.append(error)

    def _check_held(self) -> None:
        for value, mark in self._held:
            if cell_of(value) != mark:
                raise Violation("copy", "a value changed in the hands of its caller")

    def _counters(self, prefix: str) -> dict[str, int]:
        kept = self._store.counters.items()
        return {
            k: cast("int", v.value)
            for k, v in kept
            if k.startswith(prefix)
            and not k.endswith(STOPPED)
            and v.expires > self._clock.monotonic()
        }

    def _uncertain(self, key: str) -> int:
        return sum(link.uncertain[key] for link in self._links)

    def _check_quotas(self) -> None:
        for vendor in self._vendors:
            name, limits = vendor.upstream.name, vendor.limits
            for span in ("day", "minute"):
                limit = getattr(limits, f"per_{span}")
                for key, count in self._counters(f"argo:quota:{{{name}}}:{span}:").items():
                    if count > limit:
                        raise Violation("quota", f"{key} is {count}, and the limit {limit}")
                    if span == "day" and count < self.requests[name]:
                        sent = self.requests[name]
                        raise Violation("quota", f"{key} is {count}, and {sent} were sent")

    def _check_quota_is_given_back(self, name: str) -> None:
        for key, count in self._counters(f"argo:quota:{{{name}}}:day:").items():
            most = self.requests[name] + self._uncertain(key)
            if count > most:
                raise Violation("reservation", f"{key} is {count}, and at most {most} were sent")

    def _check_budgets_at_sending(self) -> None:
        if self._stopped:
            raise Violation("overrun", "a bill was too high, and more is sent")
        for key, count in self._counters("argo:llm:{budget}:").items():
            limit = _limit(key)
            if count > limit / _NANO + 1:
                spent = count * _NANO
                raise Violation("budget", f"{key} is {spent:.4f}, over {limit}, and more is sent")

    def _check_budgets(self) -> None:
        if self._model.overrun:
            return
        for key, count in self._counters("argo:llm:{budget}:").items():
            limit = _limit(key)
            if count > limit / _NANO + 1:
                raise Violation("budget", f"{key} is {count * _NANO:.4f}, over {limit}")
        total = sum(self._of_all_tenants().values()) * _NANO
        uncertain = sum(map(self._uncertain, self._of_all_tenants())) * _NANO
        if total + uncertain < self._model.billed - 1e-6:
            raise Violation(
                "budget", f"{total:.4f} is settled, and {self._model.billed:.4f} billed"
            )

    def _check_money_is_given_back(self) -> None:
        if self._model.overrun:
            return
        uncertain = sum(map(self._uncertain, self._of_all_tenants())) * _NANO
        most = self._model.billed + self._model.unsettled * _HOLD + uncertain + 1e-6
        total = sum(self._of_all_tenants().values()) * _NANO
        if total > most:
            raise Violation("reservation", f"{total:.4f} is held, and at most {most:.4f} was spent")

    def _of_all_tenants(self) -> Mapping[str, int]:
        return self._counters("argo:llm:{budget}:0:")


def _limit(key: str) -> float:
    return BUDGET if key.startswith("argo:llm:{budget}:0:") else BUDGET * 2 / 3
