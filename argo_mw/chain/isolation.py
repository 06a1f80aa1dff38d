"""Isolation: a layer's own bug costs no second upstream call, and no answer unless declared."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from argo_mw.base.cancellation import described, is_failure
from argo_mw.base.errors import ArgoError, LayerUnavailable, PluginError
from argo_mw.model.call import Call
from argo_mw.model.layer import Layer, Next
from argo_mw.model.outcome import Outcome

Report = Callable[[Layer, Call, BaseException], None]


class _Link(Struct, eq=False):
    """The ``call_next`` of one layer for one call, which records what came back through it."""

    layer: Layer
    inner: Next
    called: bool = False
    outcome: Outcome | None = None
    raised: BaseException | None = None

    async def __call__(self, call: Call) -> Outcome:
        if self.called and not self.layer.fans_out:
            msg = (
                f"layer {self.layer.name!r} awaited call_next twice; a layer that fans out "
                "must declare it with Layer(fans_out=True)"
            )
            raise PluginError(msg, plugin=self.layer.name)
        self.called = True
        try:
            self.outcome = outcome = await self.inner(call)
        except Exception as error:  # a cancellation is nothing that a layer may fall back on
            self.raised = error
            raise
        return outcome


def isolate(layer: Layer, inner: Next, report: Report) -> Next:
    """Return *layer* around *inner*, failing open unless it declares ``fail_closed``.

    An :class:`ArgoError` passes. Any other exception of the layer is reported. A layer that fails
    closed then refuses the call; else the call goes on without the layer if it had not awaited
    ``call_next``, or with what ``call_next`` had returned or raised if it had.
    """
    middleware = layer.middleware

    async def handle(call: Call) -> Outcome:
        link = _Link(layer, inner)
        try:
            outcome: object = await middleware(call, link)
        except BaseException as error:
            known = isinstance(error, ArgoError) and not isinstance(error, PluginError)
            if known or error is link.raised or not is_failure(error):
                # Else its traceback, which knows this frame, would keep itself alive.
                link.raised = None
                raise
            return await _carry_on(layer, call, link, error, report)
        if type(outcome) is Outcome:
            return outcome
        return await _carry_on(layer, call, link, not_an_outcome(layer, outcome), report)

    return handle


async def _carry_on(
    layer: Layer, call: Call, link: _Link, error: BaseException, report: Report
) -> Outcome:
    """Return the answer to *call* although *layer* failed with *error*, if it may be answered."""
    report(layer, call, error)
    if layer.fail_closed:
        raise refusal(layer, call, error) from error
    if link.outcome is not None:
        return link.outcome
    if link.raised is not None:
        raise link.raised
    if not link.called:
        return await link.inner(call)
    msg = f"layer {layer.name!r} failed while its inner call was under way: {error!r}"
    raise PluginError(msg, plugin=layer.name) from error


def refusal(layer: Layer, call: Call, error: BaseException) -> LayerUnavailable:
    """Return why *call* is not answered: *layer*, which fails closed, failed with *error*."""
    why = f"layer {layer.name!r} failed ({described(error)})"
    return unavailable(layer, call, why, "fix it")


def unavailable(layer: Layer, call: Call, why: str, remedy: str) -> LayerUnavailable:
    """Return the refusal of *call*, which must not be answered without *layer*."""
    msg = (
        f"{call.label} is refused, since it must not be answered without {layer.name!r}: {why}; "
        f"{remedy}, or answer without it by `argo-mw flags kill {layer.flag}`"
    )
    return LayerUnavailable(msg, layer=layer.name)


def not_an_outcome(layer: Layer, value: object) -> TypeError:
    """Return the error for a *layer* that returned *value* instead of an outcome."""
    return TypeError(f"layer {layer.name!r} returned a {type(value).__name__}, not an Outcome")
