"""Callers: the tenant, the timeout and other options of all calls made through one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ParamSpec, TypedDict, TypeVar, overload

from argo_mw.app.engine import Engine
from argo_mw.base.durations import above_zero, seconds
from argo_mw.base.errors import BadParameter
from argo_mw.model.call import check_tenant
from argo_mw.model.operation import (
    AnyOperation,
    Asked,
    Operation,
    Parameters,
    name_of,
    named_parameters,
)
from argo_mw.model.outcome import Outcome

P = ParamSpec("P")
R = TypeVar("R")


class Options(TypedDict, total=False):
    """What :meth:`Caller.options` takes."""

    tenant: str | None
    timeout: float | None
    max_age: float | None
    ttl: float | str | None
    read: bool | None
    store: bool | None
    refresh: bool | None
    extensions: Mapping[str, object] | None


class Caller:
    """Asks operations on behalf of one tenant.

    :class:`~argo_mw.Argo` is the caller with the configured defaults; :meth:`options` gives
    others that share everything else with it.
    """

    # Set by Argo and options(): a constructor would show callers the engine.
    _engine: Engine
    _tenant: str
    _names_tenant: bool = False
    _timeout: float | None = None
    _changes: Mapping[str, object] | None = None

    @overload
    async def call(
        self, operation: Operation[P, R], /, *arguments: P.args, **parameters: P.kwargs
    ) -> R: ...
    @overload
    async def call(self, operation: str, /, **parameters: object) -> object: ...
    async def call(self, operation: Asked, /, *arguments: object, **parameters: object) -> object:
        """Return the answer to *operation* with *arguments* and *parameters*.

        Give the operation's name, or its declaration: with that, a type checker knows its
        parameters and the type of its answer.

        Raises:
            UnknownOperation: No installed plugin offers it.
            BadParameter: A parameter is missing, unknown, refused, or cannot be part of a key.
            ScopeConflict: An upstream or a wrapped function that answers a public operation asked
                for something that belongs to a tenant.
            DeadlineExceeded: The answer did not come in time.
            Refusal: Quotas, budgets or circuit breakers refused it.
            UpstreamError: The only upstream failed.
            AllUpstreamsFailed: Every upstream failed; ``causes`` holds an error for each.
        """
        # The path of a memory hit: inlined, since one more frame is a tenth of its time.
        if arguments:
            parameters = dict(named_parameters(operation, arguments, parameters))
        call, chain = self._engine.calls.get(operation, self._tenant, parameters)
        if chain.private and self._engine.under_way() is not None:
            call = self._engine.attributed(call, parameters, named=self._names_tenant)
        if self._changes is not None:
            call = call.evolve(**self._changes)
        variant = chain.constant or chain.variant(call)
        find, looks = variant.find, None
        if find is not None:
            found = find(call)
            if type(found) is Outcome:
                return found.value
            looks = found
        timeout = self._timeout or call.operation.timeout
        return (await self._engine.run(call, variant, timeout, looks)).value

    @overload
    async def outcome(
        self, operation: Operation[P, R], /, *arguments: P.args, **parameters: P.kwargs
    ) -> Outcome: ...
    @overload
    async def outcome(self, operation: str, /, **parameters: object) -> Outcome: ...
    async def outcome(
        self, operation: Asked, /, *arguments: object, **parameters: object
    ) -> Outcome:
        """Return the outcome of *operation* with *arguments* and *parameters*.

        It raises what :meth:`call` raises.
        """
        if arguments:
            parameters = dict(named_parameters(operation, arguments, parameters))
        return await self._ask(operation, parameters)

    async def map(
        self, operation: str | AnyOperation, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """Return the outcome or the error of *operation* for each of *subjects*.

        They are asked in parallel, at most 1,000 at once; other *parameters* are the same for all.
        If an upstream can answer several subjects in one request, they are batched.

        Raises:
            UnknownOperation: No installed plugin offers it.
            BadParameter: The operation is about no subject, or *subjects* is a text.
            ScopeConflict: As for :meth:`call`.
        """
        name = name_of(operation)
        self._engine.check_asked(name)
        return await self._engine.map(name, subjects, parameters, lambda one: self._ask(name, one))

    def options(
        self,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
        max_age: float | None = None,
        ttl: float | str | None = None,
        read: bool | None = None,
        store: bool | None = None,
        refresh: bool | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> Caller:
        """Return a caller with other options; those that are not given stay as they are.

        Args:
            tenant: The tenant of its calls, which has a name. Without one, what an upstream or a
                wrapped function asks is asked on behalf of the tenant that it answers.
            timeout: Seconds that it waits at most.
            max_age: The greatest age of an acceptable answer, in seconds.
            ttl: How long an answer that is loaded for it is fresh, in seconds or as a text such as
                ``"2m"``, whatever layers would decide.
            read: Whether it may be served an answer that was kept. Without, each call asks anew,
                or joins an equal call that does.
            store: Whether layers may keep the answers that are loaded for it.
            refresh: ``True`` asks anew and keeps the answer: ``read=False, store=True``.
            extensions: Values for layers, by names that begin with a plugin's name and a dot.

        Raises:
            BadParameter: A number is not above zero, *ttl* is not a duration, the tenant's name is
                empty or not text, or *refresh* contradicts *read* or *store*.
        """
        if tenant is not None:
            check_tenant(tenant)
        if tenant == "":
            msg = "the tenant is an empty text, which owns nothing; give a name"
            raise BadParameter(msg)
        timeout = None if timeout is None else above_zero("timeout", timeout)
        if timeout is not None:
            self._engine.expect_timeout(timeout)
        if refresh is not None:
            if read is refresh or (refresh and store is False):
                msg = f"refresh={refresh} contradicts read={read}, store={store}; give one of them"
                raise BadParameter(msg)
            read, store = not refresh, True if refresh else store
        changed = {
            "max_age": None if max_age is None else above_zero("max_age", max_age),
            "ttl": None if ttl is None else seconds(ttl),
            "refresh": None if read is None else not read,
            "store": store,
        }
        changes = dict(self._changes or {})
        changes.update({name: value for name, value in changed.items() if value is not None})
        if extensions:
            before = changes.get("extensions")
            merged = {**(before if isinstance(before, Mapping) else {}), **extensions}
            changes["extensions"] = MappingProxyType(merged)
        other = Caller()
        other._engine = self._engine
        other._tenant = self._tenant if tenant is None else tenant
        other._names_tenant = self._names_tenant or tenant is not None
        other._timeout = self._timeout if timeout is None else timeout
        other._changes = changes or None
        return other

    async def _ask(self, operation: Asked, parameters: Parameters) -> Outcome:
        call, chain = self._engine.calls.get(operation, self._tenant, parameters)
        if chain.private and self._engine.under_way() is not None:
            call = self._engine.attributed(call, parameters, named=self._names_tenant)
        if self._changes is not None:
            call = call.evolve(**self._changes)
        return await self._engine.answer(call, chain, self._timeout or call.operation.timeout)
