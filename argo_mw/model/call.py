"""Calls: one question each, frozen, with a key that is equal in every process."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import final

from msgspec import Struct
from msgspec.structs import replace

from argo_mw.base.cancellation import described
from argo_mw.base.errors import BadParameter
from argo_mw.base.fingerprint import fingerprint_named
from argo_mw.base.immutability import ATOMS
from argo_mw.base.name_lists import refuse_one_text
from argo_mw.base.snapshots import own_copy
from argo_mw.model.lineage import Lineage
from argo_mw.model.operation import AnyOperation, Parameters

NOTHING: Mapping[str, object] = MappingProxyType({})
_MAX_SHOWN = 100
"""Characters of a subject in messages: nothing keeps one from being a whole document."""

ON_SENT = "argo.on_sent"
"""The extension with a function to call with the ``Request`` that goes out for the call.

For layers that pay for a request which guards may refuse, or whose caller may leave before, and for
those that must know which calls travel together: these are given the same request.
"""

ASKED_AT = "argo.asked_at"
"""The extension that says when a call came to the place of a layer in shadow, in monotonic seconds.

The layer is shown the call only once it has been answered, and must ignore what it has kept in
between.
"""

ENDS_WITH_CALLERS = "argo.ends_with_callers"
"""The extension that is ``True`` where a request ends with its last caller, whose time is up.

Else a request whose callers have all run out of time goes on, within the operation's timeout, and
its answer is kept.
"""

OWN_FAILURES = "argo.own_failures"
"""The extension that is ``True`` where a failure reaches only the callers that wait for it. A
caller that asks a moment later asks anew, since a client that retries by itself decides when.
"""

ALONE = "argo.alone"
"""The extension that is ``True`` where a call joins no other call, and no other joins it."""


@final
class Call(Struct, frozen=True, eq=False):
    """One question on its way through the chain.

    Attributes:
        operation: The kind of question.
        parameters: Its parameters, complete and normalised, and not the caller's own objects.
        key: A stable fingerprint of operation, parameters and scope: equal in every process and
            run for equal questions. Holds no secret, upstream, deadline or extension.
        subject: What the question is about: the value of the parameter that the operation names
            as its subject, or "".
        tenant: On whose behalf it is asked; see also :attr:`owner`.
        deadline: The time by which the caller needs the answer, in monotonic seconds, or ``None``.
        upstream: The upstream that the call is bound to, or ``None`` before one is selected.
        tags: What every answer to it depends on: ``op:NAME``, ``subject:SUBJECT``, and what its
            operation names beside them.
        ancestors: The keys of the calls that this one was asked for, outermost first.
        refresh: Whether the caller has an answer already and wants a newer one, so that caches
            skip their lookup.
        max_age: The greatest age of an acceptable answer, in seconds; ``None`` for any age.
        ttl: Seconds for which the answer is to be fresh, by its caller; ``None`` says nothing. See
            :attr:`fixed_ttl`.
        store: Whether layers may keep its answer for later calls.
        missed: The names of the layers whose ``find`` has just looked into a store and found
            nothing, so that they need not look there again.
        lineage: Collects the outcomes of nested calls; ``None`` where the operation makes none.
        extensions: What layers tell each other about this call, by names that begin with a
            plugin's name and a dot; never part of the key.
    """

    operation: AnyOperation
    parameters: Parameters
    key: str
    subject: str = ""
    tenant: str = ""
    deadline: float | None = None
    upstream: str | None = None
    tags: frozenset[str] = frozenset()
    ancestors: tuple[str, ...] = ()
    refresh: bool = False
    max_age: float | None = None
    ttl: float | None = None
    store: bool = True
    missed: tuple[str, ...] = ()
    lineage: Lineage | None = None
    extensions: Mapping[str, object] = NOTHING

    def __repr__(self) -> str:
        """Describe the call without its parameters and extensions, which may hold anything."""
        bound = f" to {self.upstream}" if self.upstream is not None else ""
        return f"<Call {self.label}{bound}, key {self.key}>"

    @property
    def label(self) -> str:
        """The operation's name and the beginning of the subject, for messages."""
        subject = self.subject
        if len(subject) > _MAX_SHOWN:
            subject = f"{subject[: _MAX_SHOWN - 1]}…"
        return f"{self.operation.name} {subject}" if subject else self.operation.name

    @property
    def owner(self) -> str:
        """The tenant that every answer to it belongs to, or "" where tenants share answers."""
        return "" if self.operation.scope == "public" else self.tenant

    @property
    def fixed_ttl(self) -> float | None:
        """The seconds for which its answer is fresh, by its caller, else by its operation."""
        return self.operation.ttl if self.ttl is None else self.ttl

    @property
    def branch_key(self) -> str:
        """The key of this question to this upstream."""
        return self.key if self.upstream is None else f"{self.key}@{self.upstream}"

    @property
    def batch_key(self) -> str:
        """The key that calls share which differ only in what their operation gathers."""
        apart = self.operation.gathers or self.operation.subject
        decide = self.operation.deciding(self.parameters)
        rest = {n: v for n, v in decide.items() if n != apart}
        scope = _scope(self.operation, self.tenant)
        return f"{self.operation.name}:{fingerprint_named(rest, of='siblings', context=scope)}"

    def bind(self, upstream: str) -> Call:
        """Return the same question, to *upstream*."""
        return replace(self, upstream=upstream)

    def until(self, deadline: float | None) -> Call:
        """Return the same question, with another deadline in monotonic seconds."""
        return replace(self, deadline=deadline)

    def evolve(self, **changes: object) -> Call:
        """Return the same question with *changes* to the fields that are not part of its key."""
        return replace(self, **changes)

    def descend(self, parent: Call) -> Call:
        """Return the same question, asked on behalf of *parent* and within its deadline."""
        ancestors = (*parent.ancestors, parent.key)
        return replace(self, ancestors=ancestors, deadline=parent.deadline)

    def extended(self, extensions: Mapping[str, object], **changes: object) -> Call:
        """Return the same question with *extensions* beside its own, and *changes* as evolve's."""
        together = MappingProxyType({**self.extensions, **extensions})
        return replace(self, extensions=together, **changes)


def make_call(operation: AnyOperation, parameters: Parameters, *, tenant: str) -> Call:
    """Return the call that asks *operation* with *parameters* on behalf of *tenant*.

    Raises:
        BadParameter: A parameter is missing, unknown, refused, or has no stable fingerprint; or
            *tenant* is not text.
        ConfigError: The operation's tags are one text.
    """
    check_tenant(tenant)
    bound = operation.bind(parameters)
    digest = fingerprint_named(
        operation.deciding(bound),
        of=operation.name,
        context=(operation.name, operation.version, *_scope(operation, tenant)),
    )
    subject = _text(operation, bound.get(operation.subject, "")) if operation.subject else ""
    declared = operation.tags(bound)
    refuse_one_text("what tags= of an operation returns", declared)
    tags = {f"op:{operation.name}", *declared}
    if subject:
        tags.add(f"subject:{subject}")
    return Call(
        operation=operation,
        parameters=MappingProxyType(
            {
                n: v if type(v) in ATOMS or n in operation.ignore else own_copy(v)
                for n, v in bound.items()
            }
        ),
        key=f"{operation.name}:{digest}",
        subject=subject,
        tenant=tenant,
        tags=frozenset(tags),
    )


def _text(operation: AnyOperation, subject: object) -> str:
    try:
        return str(subject)
    except Exception as error:  # an integer of five thousand digits has no text, for one
        msg = f"the subject of {operation.name} has no text: {described(error)}"
        raise BadParameter(msg) from error


def check_tenant(tenant: object) -> None:
    """Check that *tenant* can own answers.

    Raises:
        BadParameter: It is not text, or text that no store can hold. ``1``, ``1.0`` and ``True``
            are equal, so the answers of one would be the other's.
    """
    if not isinstance(tenant, str):
        msg = f"the tenant is {tenant!r}, of type {type(tenant).__name__}; give its name as a text"
        raise BadParameter(msg)
    if not tenant.isascii():
        try:
            tenant.encode()
        except UnicodeEncodeError:
            msg = f"the tenant {tenant!r} is not text that can be stored; give another name"
            raise BadParameter(msg) from None


def _scope(operation: AnyOperation, tenant: str) -> tuple[str, ...]:
    # The word beside the tenant's name: whatever a tenant is called, none of its own answers has
    # the key of a shared one, even if an operation's scope changes.
    return ("",) if operation.scope == "public" else ("tenant", tenant)
