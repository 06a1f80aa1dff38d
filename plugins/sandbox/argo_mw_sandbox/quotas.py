"""Quotas of a vendor, by its own count."""

from __future__ import annotations

from collections import deque

from attrs import frozen

DAY = 86_400.0
MINUTE = 60.0


@frozen
class Quota:
    """A vendor's limits; ``None`` means not limited.

    Attributes:
        per_second: Requests in any second.
        per_minute: Requests in any minute.
        per_day: Requests in any 24 hours.
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None


UNLIMITED = Quota()

FREE_PLAN: dict[str, Quota] = {
    "alpaca": Quota(per_minute=200),
    "massive": Quota(per_minute=5),
    "alphavantage": Quota(per_second=1, per_day=25),
    "claude": Quota(per_minute=50),
    "deepseek": UNLIMITED,
    "qwen": Quota(per_minute=60),
    "glm": Quota(per_minute=60),
    "openai": Quota(per_minute=60),
}
"""What the vendors grant without a paid plan (the language models: the lowest tier, assumed)."""


@frozen
class Standing:
    """What is left of a key's quota after a request.

    Attributes:
        exceeded: ``second``, ``minute`` or ``day`` where the request was one too many, else ``""``.
        limit: Requests per minute that are allowed, 0 if unlimited.
        remaining: How many of them are left.
        reset: Seconds until the minute's first request leaves the window.
    """

    exceeded: str = ""
    limit: int = 0
    remaining: int = 0
    reset: float = 0.0


class Meter:
    """A counter of a vendor's requests, in sliding windows per API key; refused ones are free."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self._taken: dict[str, deque[float]] = {}

    def charge(self, key: str, now: float) -> Standing:
        """Book a request of *key* at monotonic time *now*, if the quota allows it."""
        quota = self.quota
        if quota == UNLIMITED:
            return Standing()
        taken = self._taken.setdefault(key, deque())
        while taken and taken[0] <= now - DAY:
            taken.popleft()
        for name, length, limit in (
            ("second", 1.0, quota.per_second),
            ("minute", MINUTE, quota.per_minute),
            ("day", DAY, quota.per_day),
        ):
            if limit is not None and _within(taken, now - length) >= limit:
                return self._standing(taken, now, name)
        taken.append(now)
        return self._standing(taken, now, "")

    def _standing(self, taken: deque[float], now: float, exceeded: str) -> Standing:
        limit = self.quota.per_minute
        if limit is None:
            return Standing(exceeded)
        used = _within(taken, now - MINUTE)
        reset = taken[-used] + MINUTE - now if used else 0.0
        return Standing(exceeded, limit, max(limit - used, 0), reset)


def _within(taken: deque[float], since: float) -> int:
    count = 0
    for moment in reversed(taken):
        if moment <= since:
            break
        count += 1
    return count
