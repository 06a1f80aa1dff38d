"""Upstreams: services that answer operations."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from attrs import field, frozen, validators

from argo_mw.base.durations import above_zero
from argo_mw.base.log import Log
from argo_mw.base.name_lists import refuse_one_text
from argo_mw.model.call import Call
from argo_mw.model.outcome import NO_COST, UNKNOWN_COST, Cost, Outcome

Fetch = Callable[[Call], Coroutine[object, object, Outcome]]
FetchMany = Callable[[Sequence[Call]], Coroutine[object, object, Sequence[Outcome | Exception]]]
WhyUnsupported = Callable[[Call], "str | None"]
FailureCost = Callable[[Call, BaseException], Cost]

log = Log("argo_mw")


_above_zero = validators.optional(validators.gt(0))


@frozen
class Limits:
    """How often an upstream may be asked. ``None`` means not limited; a limit is above zero.

    Attributes:
        per_second: Requests in any second.
        per_minute: Requests in any minute.
        per_day: Requests in a UTC day.
        concurrency: Requests under way at once, in this process.
    """

    per_second: int | None = field(default=None, validator=_above_zero)
    per_minute: int | None = field(default=None, validator=_above_zero)
    per_day: int | None = field(default=None, validator=_above_zero)
    concurrency: int | None = field(default=None, validator=_above_zero)

    @property
    def unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self == UNLIMITED


UNLIMITED = Limits()
"""No limits."""


@frozen
class Batching:
    """How several calls travel in one request.

    Attributes:
        fetch_many: Answers several calls that differ only in their subject, or in what else
            their operation gathers: an outcome or an error for each, in their order.
        max_size: Calls in a request at most.
        window: Seconds without a further call after which the request is sent, after twenty such
            windows at the latest; 0 collects what is asked in one turn of the loop.
    """

    fetch_many: FetchMany
    max_size: int = field(default=100, validator=validators.ge(1))
    window: float = 0.001


Compare = Callable[[Outcome], Iterable[str]]
"""Returns in which ways an answer is not as expected, each in a few words."""


def _nothing_to_pay() -> float | None:
    return 0.0


def _watch_nothing() -> AbstractContextManager[Compare]:
    return nullcontext(lambda _: ())


@frozen
class Probe:
    """The cheapest question that shows whether a service answers as its client expects.

    ``argo-mw doctor --live`` asks it.

    Attributes:
        operation: The name of the operation that is asked.
        parameters: Its parameters.
        most_usd: Returns the most US dollars that it can cost, or ``None`` when that is unknown.
        watch: Watches the client while it is asked, and gives what compares the answer with what
            is expected.
    """

    operation: str
    parameters: Mapping[str, object]
    most_usd: Callable[[], float | None] = _nothing_to_pay
    watch: Callable[[], AbstractContextManager[Compare]] = _watch_nothing


def _names(names: Iterable[str]) -> frozenset[str]:
    refuse_one_text("operations of an upstream", names)
    return frozenset(names)


def _timeout(number: float) -> float:
    return above_zero("timeout of an upstream", number)


@frozen(eq=False)
class Upstream:
    """A service that answers some operations.

    Attributes:
        name: Unique among all installed plugins; its flag is ``upstream.NAME``.
        operations: The names of the operations that it answers.
        fetch: Answers one call, or raises an :class:`~argo_mw.UpstreamError` whose
            action is what to do about it. After any other exception the next upstream is asked.
        batching: How several calls travel in one request, or ``None``.
        limits: Its quotas. A metered upstream without any is refused.
        metered: Whether requests cost money or a scarce quota.
        timeout: Seconds for one attempt.
        retries: How often a call is repeated after an error whose action is ``RETRY``.
        price: Typical US dollars per request, for ranking; ``None`` when unknown.
        unsupported: Returns why it cannot answer a call at all (no key, a subject that it does
            not have), or ``None``. A call with a reason is not sent, charges no quota, and goes
            on to the next upstream.
        failure_cost: Says what a call's share of a request cost that brought no answer to it; by
            default that is unknown, which is not zero.
        probe: The question that shows whether it answers as expected, or ``None``.
    """

    name: str
    operations: frozenset[str] = field(converter=_names)
    fetch: Fetch
    batching: Batching | None = None
    limits: Limits = field(default=UNLIMITED, validator=validators.instance_of(Limits))
    metered: bool = False
    timeout: float = field(default=30.0, converter=_timeout)
    retries: int = field(default=1, validator=[validators.instance_of(int), validators.ge(0)])
    price: float | None = None
    unsupported: WhyUnsupported | None = None
    failure_cost: FailureCost | None = None
    probe: Probe | None = None

    @property
    def priced(self) -> bool:
        """Whether requests cost money or a scarce quota, so that their costs are recorded."""
        return self.metered or bool(self.price)

    def cost_of(self, call: Call, answer: Outcome | BaseException) -> Cost:
        """Return what *call*'s share of a request cost that ended in *answer*.

        The cost of a stream is known at its end: see :attr:`Stream.cost`.
        """
        if isinstance(answer, Outcome):
            return answer.cost
        if self.failure_cost is None:
            return UNKNOWN_COST if self.priced else NO_COST
        try:
            return self.failure_cost(call, answer)
        except Exception:
            log.exception("failure_cost failed, so a cost is unknown", upstream=self.name)
            return UNKNOWN_COST
