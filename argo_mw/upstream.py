"""Upstreams: services that answer operations."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence

from attrs import field, frozen

from argo_mw.call import Call
from argo_mw.outcome import Outcome

Fetch = Callable[[Call], Coroutine[object, object, Outcome]]
FetchMany = Callable[[Sequence[Call]], Coroutine[object, object, Sequence[Outcome | Exception]]]
Unable = Callable[[Call], "str | None"]


@frozen
class Limits:
    """How often an upstream may be asked. ``None`` means not limited.

    Attributes:
        per_second: Requests in any second.
        per_minute: Requests in any minute.
        per_day: Requests in a UTC day.
        concurrency: Requests under way at once, in this process.
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None
    concurrency: int | None = None

    @property
    def unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self == UNLIMITED


UNLIMITED = Limits()
"""Limits that limit nothing."""


@frozen
class Gathering:
    """How calls are put together into one request.

    Attributes:
        fetch_many: Answers several calls that differ in their subject only: an outcome or an
            error for each, in their order.
        most: Calls in a request at most.
        window: Seconds without a further call after which the request goes out, though never
            later than twenty of them; 0 gathers what is asked in one turn of the loop.
    """

    fetch_many: FetchMany
    most: int = 100
    window: float = 0.001


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@frozen(eq=False)
class Upstream:
    """A service that answers some operations.

    Attributes:
        name: Unique among all installed plugins; its flag is ``upstream.NAME``.
        operations: The names of the operations that it answers.
        fetch: Answers one call, or raises an :class:`~argo_mw.errors.UpstreamError` that says
            what to do about it. Any other exception counts as a failure to switch away from.
        gathering: How several calls travel in one request, or ``None``.
        limits: Its quotas. A metered upstream without any is refused.
        metered: Whether requests cost money or a scarce quota.
        timeout: Seconds for one attempt.
        retries: How often an error that says ``RETRY`` is asked again.
        price: Typical US dollars per request, for ranking; ``None`` when unknown.
        unable: Says why it cannot answer a call at all (no key, a market that it does not
            have), or ``None``. Then no request is sent, no quota charged, and the next is asked.
    """

    name: str
    operations: frozenset[str] = field(converter=_names)
    fetch: Fetch
    gathering: Gathering | None = None
    limits: Limits = UNLIMITED
    metered: bool = False
    timeout: float = 30.0
    retries: int = 1
    price: float | None = None
    unable: Unable | None = None
