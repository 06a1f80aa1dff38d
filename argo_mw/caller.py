"""Callers: whoever asks, with the tenant, the patience and the wishes that hold for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from argo_mw.engine import Engine
from argo_mw.errors import BadParameter
from argo_mw.extensions import MAX_AGE
from argo_mw.operation import Parameters
from argo_mw.outcome import Outcome


class Caller:
    """Asks operations on behalf of one tenant.

    :class:`~argo_mw.Argo` is the caller with the configured defaults; :meth:`options` gives
    others that share everything else with it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        tenant: str,
        timeout: float | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        self._engine = engine
        self._tenant = tenant
        self._timeout = timeout
        self._extensions = extensions

    async def call(self, operation: str, /, **parameters: object) -> object:
        """The answer to *operation* with *parameters*.

        Raises:
            UnknownOperation: No installed plugin offers it.
            BadParameter: A parameter is missing, unknown, refused, or cannot be part of a key.
            DeadlineExceeded: The answer did not come in time.
            Refusal: Quotas, budgets or circuit breakers refused it.
            UpstreamError: The only upstream failed.
            AllUpstreamsFailed: Every upstream failed; ``causes`` holds an error for each.
        """
        # The path of a memory hit: spelt out, since one frame more is a tenth of its time.
        call, chain = self._engine.build.questions.ask(operation, self._tenant, parameters)
        variant = chain.settled or chain.variant(call)
        if self._extensions is not None:
            call = call.extended(self._extensions)
        if variant.peek is not None:
            hit = self._engine.peek(call, variant)
            if hit is not None:
                return hit.value
        timeout = self._timeout or call.operation.timeout
        return (await self._engine.run(call, variant, timeout)).value

    async def outcome(self, operation: str, /, **parameters: object) -> Outcome:
        """Like :meth:`call`, but with all that is known about the answer."""
        return await self._ask(operation, parameters)

    async def map(
        self, operation: str, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """The outcome or the error of *operation* for each of *subjects*, asked in parallel.

        Other *parameters* are the same for all. At most 1,000 calls are under way at once. An
        upstream that can answer several subjects in one request is asked that way.

        Raises:
            UnknownOperation: No installed plugin offers it.
            BadParameter: The operation is about no subject, or *subjects* is a text.
        """
        return await self._engine.map(
            operation, subjects, parameters, lambda one: self._ask(operation, one)
        )

    def options(
        self,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
        max_age: float | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> Caller:
        """A caller with other wishes.

        Args:
            tenant: On whose behalf it asks.
            timeout: Seconds after which it waits no more.
            max_age: Seconds: it takes no answer that is older.
            extensions: What to tell the layers about its calls.

        Raises:
            BadParameter: A number is not above zero.
        """
        for name, number in (("timeout", timeout), ("max_age", max_age)):
            if number is not None and not number > 0:
                msg = f"{name} is {number!r} s; give a number of seconds above zero"
                raise BadParameter(msg)
        told = {**(self._extensions or {}), **(extensions or {})}
        if max_age is not None:
            told[MAX_AGE] = max_age
        return Caller(
            self._engine,
            tenant=self._tenant if tenant is None else tenant,
            timeout=self._timeout if timeout is None else timeout,
            extensions=told or None,
        )

    async def _ask(self, operation: str, parameters: Parameters) -> Outcome:
        call, chain = self._engine.build.questions.ask(operation, self._tenant, parameters)
        if self._extensions is not None:
            call = call.extended(self._extensions)
        return await self._engine.answer(call, chain, self._timeout or call.operation.timeout)
