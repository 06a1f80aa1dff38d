"""An OpenFeature provider: programs read the flags of argo-mw with the SDK of OpenFeature.

::

    from openfeature import api

    async with Argo.open() as argo:
        api.set_provider_and_wait(ArgoProvider(argo))
        if api.get_client().get_boolean_value("signals.new_weights", False):
            ...

It needs the extra ``argo-mw[openfeature]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from attrs import field, frozen

from argo_mw.app.access import flags_of, observe
from argo_mw.app.application import Argo
from argo_mw.base.errors import Closed
from argo_mw.flags import Decision, Flag
from argo_mw.flags.control import FlagControl
from argo_mw.flags.sources import FLEET
from argo_mw.model.events import Event, Reconfigured, observes

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEventDetails
    from openfeature.exception import (
        FlagNotFoundError,
        GeneralError,
        InvalidContextError,
        ProviderFatalError,
        ProviderNotReadyError,
        TargetingKeyMissingError,
        TypeMismatchError,
    )
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ImportError as error:
    msg = "argo_mw.openfeature needs the SDK: pip install 'argo-mw[openfeature]'"
    raise ImportError(msg) from error

__all__ = ["ArgoProvider", "Variants"]

Variant: TypeAlias = tuple[str, FlagValueType]
"""The name of a variant, and its value."""
Object: TypeAlias = Sequence[FlagValueType] | Mapping[str, FlagValueType]

V = TypeVar("V", bound=FlagValueType)


@frozen
class Variants:
    """What a flag means to the programs that ask for it.

    Attributes:
        on: The variant where the flag is on.
        off: The variant where it is off; ``None`` for the default that the program gives.
        subject: The attribute of the evaluation context that is the flag's subject; by default
            ``subject``, else the targeting key.
        metadata: What evaluations tell about the flag.
    """

    on: Variant = ("on", True)
    off: Variant | None = ("off", False)
    subject: str = "subject"
    metadata: Mapping[str, bool | int | float | str] = field(factory=dict)


@frozen
class _Context:
    """Who asks, read from an evaluation context."""

    subject: str
    tenant: str
    key: str


_SWITCH = Variants()


class ArgoProvider(AbstractProvider):
    """Resolves flags of *argo*, in any thread.

    Each flag is a boolean, true where its layer acts, unless *variants* say otherwise. A flag that
    is held off is false, with the reason ``DISABLED``; one with variants is then what the program
    gives as its default. What the fleet has set is ``STALE`` while the store cannot be read.

    Args:
        argo: The application; it is open while the provider is in use.
        variants: What flags mean that are not plain switches, by the names that programs ask for.
        prefix: What the names of flags begin with that programs leave out, such as ``shop.``.
    """

    def __init__(
        self,
        argo: Argo,
        variants: Mapping[str, Variants] | None = None,
        *,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self._argo = argo
        self._prefix = prefix
        self._variants = dict(variants or {})
        self._flags: FlagControl | None = None
        self._known: Mapping[str, Flag] = {}
        self._stale = ""
        self._forget: Callable[[], None] | None = None

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="argo-mw")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Begin to resolve flags.

        Raises:
            ProviderNotReadyError: The application is not open yet.
            ProviderFatalError: It is closed.
        """
        self._control()

        @observes(Reconfigured)
        def changed(_: Event) -> None:
            self._changed()

        self._forget = observe(self._argo, changed)

    def shutdown(self) -> None:
        """Stop reporting changes."""
        if self._forget is not None:
            self._forget()
            self._forget = None

    # -- resolving ---------------------------------------------------------------------------

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Return whether the flag is on."""
        return self._resolve(flag_key, default_value, evaluation_context, bool)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Return the flag's text."""
        return self._resolve(flag_key, default_value, evaluation_context, str)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """Return the flag's whole number."""
        return self._resolve(flag_key, default_value, evaluation_context, int)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Return the flag's number."""
        return self._resolve(flag_key, default_value, evaluation_context, float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Object,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Object]:
        """Return the flag's structure."""
        return self._resolve(flag_key, default_value, evaluation_context, Mapping, Sequence)

    def _resolve(
        self, name: str, default: V, context: EvaluationContext | None, *kinds: type
    ) -> FlagResolutionDetails[V]:
        control = self._control()
        flag = control.all.get(self._prefix + name)
        if flag is None:
            msg = f"there is no flag {self._prefix + name!r}; see `argo-mw flags list`"
            raise FlagNotFoundError(msg)
        variants = self._variants.get(name, _SWITCH)
        decision = flag.decide(self._asker(flag, variants, context))
        if flag.fault and not flag.rule.held:
            raise GeneralError(flag.fault)
        chosen = self._chosen(decision, flag, variants)
        value = default if chosen is None else _checked(name, chosen[1], kinds)
        stale = control.stale if FLEET in (flag.source, flag.held_by) else ""
        self._tell_whether_stale(control.stale)
        return FlagResolutionDetails(
            value=value,  # type: ignore[arg-type]
            reason=Reason.STALE if stale else Reason(decision.reason.value),
            variant=None if chosen is None else chosen[0],
            flag_metadata={**variants.metadata, **({"arm": decision.arm} if decision.arm else {})},
        )

    def _chosen(self, decision: Decision, flag: Flag, variants: Variants) -> Variant | None:
        if decision.on:
            return variants.on
        if flag.rule.held and variants is not _SWITCH:
            return None
        if decision.shadow and variants.off == _SWITCH.off:
            return ("shadow", False)
        return variants.off

    def _asker(self, flag: Flag, variants: Variants, context: EvaluationContext | None) -> _Context:
        context = context or EvaluationContext()
        key = context.targeting_key or ""
        subject = context.attributes.get(variants.subject)
        if subject is None and variants.subject == _SWITCH.subject:
            subject = key
        tenant = context.attributes.get("tenant", self._argo.settings.argo.tenant)
        if not isinstance(tenant, str) or not isinstance(subject, str | None):
            msg = f"tenant and {variants.subject} must be texts"
            raise InvalidContextError(msg)
        asker = _Context(subject or "", tenant, key)
        rule = flag.rule
        # Of nobody, of everybody and of single subjects it need not be known who asks.
        shared = 0.0 < (rule.percent or 0.0) < 100.0 and not rule.held and rule.by != "tenant"
        if asker.subject in rule.subjects:
            return asker
        if shared and not (asker.key or (rule.by == "subject" and asker.subject)):
            share = f"{rule.percent:g} % by {rule.by}"
            msg = f"flag {flag.name!r} is on for {share}: give a targeting key"
            raise TargetingKeyMissingError(msg)
        return asker

    def _control(self) -> FlagControl:
        try:
            control = flags_of(self._argo)
        except Closed as error:
            if self._flags is None:
                msg = f"open the application before its flags are asked for: {error}"
                raise ProviderNotReadyError(msg) from None
            msg = f"the application whose flags these are is closed: {error}"
            raise ProviderFatalError(msg) from None
        if self._flags is None:
            self._flags, self._known = control, control.all
        return control

    # -- events ------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Tell the SDK which flags are set otherwise than before."""
        before, now = self._known, self._control().all
        self._known = now
        changed = [
            name.removeprefix(self._prefix)
            for name in sorted(before.keys() | now.keys())
            if name not in before or name not in now or before[name].rule != now[name].rule
        ]
        if changed:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))

    def _tell_whether_stale(self, why: str) -> None:
        if bool(why) == bool(self._stale):
            return
        self._stale = why
        if why:
            self.emit_provider_stale(ProviderEventDetails(message=why))
        else:
            self.emit_provider_ready(ProviderEventDetails())


def _checked(name: str, value: FlagValueType, kinds: tuple[type, ...]) -> FlagValueType:
    """Return *value* if it is of one of *kinds*: no truth value is a number, and no text a list."""
    kind = type(value)
    if kind is int and float in kinds:
        return value
    right = kind in kinds if kind in (bool, str) else isinstance(value, kinds)
    if not right:
        msg = f"flag {name!r} has the value {value!r}, of the type {kind.__name__}"
        raise TypeMismatchError(msg)
    return value
