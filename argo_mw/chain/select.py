"""Select: binds an unbound call to its upstreams, one after the other, until one answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

from argo_mw.base.errors import (
    Action,
    AllUpstreamsFailed,
    AllUpstreamsRefused,
    Refusal,
    Unsupported,
    UpstreamError,
)
from argo_mw.model.call import Call
from argo_mw.model.layer import Next
from argo_mw.model.outcome import Outcome

Candidates = Callable[[Call], Sequence[str]]


def select(branch: Next, candidates: Candidates) -> Next:
    """Return the core's policy at the fan-out point: in order, the next one on failure.

    A call that ``race`` has bound already goes straight to its upstream. An error whose action is
    ``STOP`` ends the search, since no other upstream would do better.
    """

    def handle(call: Call) -> Coroutine[object, object, Outcome]:
        if call.upstream is not None:
            return branch(call)
        names = candidates(call)
        if len(names) == 1:
            return branch(call.bind(names[0]))
        return in_turn(call, names)

    async def in_turn(call: Call, names: Sequence[str]) -> Outcome:
        causes: list[Exception] = []
        try:
            for name in names:
                try:
                    return await branch(call.bind(name))
                except (Refusal, UpstreamError) as error:
                    if is_final(error):
                        raise
                    causes.append(error)
            raise all_failed(call, causes)
        finally:
            del causes  # else each of them would know itself, through its traceback

    return handle


def is_final(error: Exception) -> bool:
    """Return whether *error* is about the call itself, so that no other upstream would answer."""
    return isinstance(error, UpstreamError) and error.action is Action.STOP


def all_failed(call: Call, causes: Sequence[Exception]) -> Exception:
    """Return one error for *call*, whose upstreams have all failed with *causes*.

    Where only one upstream could answer, its error is returned as it is. :class:`Unsupported`
    causes are listed but do not decide the type of the error: where guards refused all upstreams
    that could answer, it is a refusal.
    """
    asked = [cause for cause in causes if not isinstance(cause, Unsupported)]
    if len(asked or causes) == 1:
        return (asked or causes)[0]
    what = call.label
    if not causes:
        msg = (
            f"no upstream for {what} is switched on, or none answers it: see `argo-mw plugins` "
            "and [flags]"
        )
        return AllUpstreamsFailed(msg, causes=())
    text = "; ".join(str(cause) for cause in causes)
    refusals = [cause for cause in asked if isinstance(cause, Refusal)]
    if refusals and len(refusals) == len(asked):
        times = [r.retry_at for r in refusals if r.retry_at is not None]
        msg = f"every upstream of {what} was refused: {text}"
        return AllUpstreamsRefused(msg, causes=causes, retry_at=min(times, default=None))
    return AllUpstreamsFailed(f"no upstream answered {what}: {text}", causes=causes)
