"""Calls: one question each, frozen, with a key that is the same wherever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from argo_mw.fingerprint import fingerprint_named
from argo_mw.operation import Operation, Parameters

NOTHING: Mapping[str, object] = MappingProxyType({})


@frozen(eq=False)
class Call:
    """One question on its way through the chain.

    Attributes:
        operation: What kind of question.
        parameters: Its parameters, complete and normalised.
        key: A stable fingerprint of operation, parameters and scope: equal in every process and
            run for equal questions. Holds no secret, upstream, deadline or extension.
        subject: The symbol or other thing that the question is about, or "".
        tenant: On whose behalf it is asked.
        deadline: Monotonic seconds at which nobody waits for it any more, or ``None``.
        upstream: The upstream that the call is bound to, or ``None`` before one is chosen.
        tags: What every answer to it depends on: ``op:NAME``, ``subject:SYMBOL``, and what its
            operation names beside them.
        ancestors: The keys of the calls that this one was asked for, outermost first.
        extensions: What layers tell each other about this call; never part of the key.
    """

    operation: Operation
    parameters: Parameters
    key: str
    subject: str = ""
    tenant: str = ""
    deadline: float | None = None
    upstream: str | None = None
    tags: frozenset[str] = frozenset()
    ancestors: tuple[str, ...] = ()
    extensions: Mapping[str, object] = field(default=NOTHING, repr=False)

    @property
    def branch_key(self) -> str:
        """The key of this question to this upstream."""
        return self.key if self.upstream is None else f"{self.key}@{self.upstream}"

    @property
    def siblings_key(self) -> str:
        """What calls have in common that differ in their subject only."""
        rest = {n: v for n, v in self.parameters.items() if n != self.operation.subject}
        scope = _scope(self.operation, self.tenant)
        return f"{self.operation.name}:{fingerprint_named(rest, of='siblings', context=(scope,))}"

    def bind(self, upstream: str) -> Call:
        """The same question, to *upstream*."""
        return self._with(self.deadline, upstream, self.ancestors, self.extensions)

    def bind_until(self, upstream: str, deadline: float | None) -> Call:
        """The same question to *upstream*, with another *deadline* in monotonic seconds."""
        return self._with(deadline, upstream, self.ancestors, self.extensions)

    def until(self, deadline: float | None) -> Call:
        """The same question, with another deadline in monotonic seconds."""
        return self._with(deadline, self.upstream, self.ancestors, self.extensions)

    def descend(self, parent: Call) -> Call:
        """The same question, asked on behalf of *parent*."""
        ancestors = (*parent.ancestors, parent.key)
        return self._with(self.deadline, self.upstream, ancestors, self.extensions)

    def extended(self, extensions: Mapping[str, object]) -> Call:
        """The same question with *extensions* beside its own."""
        merged = MappingProxyType({**self.extensions, **extensions})
        return self._with(self.deadline, self.upstream, self.ancestors, merged)

    def _with(
        self,
        deadline: float | None,
        upstream: str | None,
        ancestors: tuple[str, ...],
        extensions: Mapping[str, object],
    ) -> Call:
        # Spelt out: attrs.evolve takes four times as long, and every call is dated and bound.
        return Call(
            self.operation,
            self.parameters,
            self.key,
            self.subject,
            self.tenant,
            deadline,
            upstream,
            self.tags,
            ancestors,
            extensions,
        )


def make_call(operation: Operation, parameters: Parameters, *, tenant: str) -> Call:
    """The call that asks *operation* with *parameters* on behalf of *tenant*.

    Raises:
        BadParameter: A parameter is missing, unknown, refused, or has no stable fingerprint.
    """
    bound = operation.bind(parameters)
    digest = fingerprint_named(
        bound,
        of=operation.name,
        context=(operation.name, operation.version, _scope(operation, tenant)),
    )
    subject = str(bound.get(operation.subject, "")) if operation.subject else ""
    tags = {f"op:{operation.name}", *operation.tags(bound)}
    if subject:
        tags.add(f"subject:{subject}")
    return Call(
        operation=operation,
        parameters=MappingProxyType(bound),
        key=f"{operation.name}:{digest}",
        subject=subject,
        tenant=tenant,
        tags=frozenset(tags),
    )


def _scope(operation: Operation, tenant: str) -> str:
    return "" if operation.scope == "public" else tenant
