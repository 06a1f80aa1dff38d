"""What plugins' context needs of the running application."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from argo_mw.chain.refresh import Refresh
from argo_mw.counters.published import CountersOf
from argo_mw.flags import Decision
from argo_mw.flags.control import FlagControl
from argo_mw.model.call import Call
from argo_mw.model.charge import Charge
from argo_mw.model.guard import Standing
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation, Parameters
from argo_mw.model.outcome import Outcome
from argo_mw.model.snapshot import Overview
from argo_mw.model.upstream import Upstream


class Runtime(Protocol):
    """The running application as a context needs it; a fake makes a context for unit tests."""

    flags: FlagControl
    overview: Callable[[CountersOf, str], Overview]

    async def nested(self, parent: Call, operation: str, parameters: Parameters) -> Outcome:
        """Ask *operation* with *parameters* on behalf of *parent*."""

    async def nested_map(
        self, parent: Call, operation: str, subjects: Iterable[str], parameters: Parameters
    ) -> dict[str, Outcome | Exception]:
        """Ask *operation* about each of *subjects*, with further *parameters*, for *parent*."""

    def tenant_here(self, operation: str) -> str | None:
        """Return for which tenant an upstream asks *operation* here; ``None`` where none does."""

    async def charge_extra(self, call: Call) -> None:
        """Charge one more request for *call*, which is bound to an upstream."""

    def refresh(self, call: Call) -> Refresh | None:
        """Ask *call* again in the background."""

    async def ask_afresh(self, call: Call) -> Outcome:
        """Ask the upstreams of *call* past all layers."""

    def caller_context(self) -> contextvars.Context:
        """Return a copy of the caller's context, in which no upstream asks."""

    def upstreams(self, call: Call) -> Sequence[Upstream]:
        """Return the upstreams that may answer *call* now."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers that act on any call or shadow it, outermost first."""

    def standings(self) -> Mapping[tuple[str, str], Standing]:
        """Return how the guards stand, by upstream and guard."""

    def flag(self, name: str, call: Call) -> Decision:
        """Evaluate flag *name* for *call*."""

    def collect(self, hook: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """Call *hook* of every plugin with *arguments*."""

    def operation(self, name: str) -> AnyOperation:
        """Return the operation called *name*."""

    def make_call(self, operation: str, tenant: str, parameters: Parameters) -> Call:
        """Return the call that asks *operation* with *parameters* for *tenant*."""

    def configuration_of(self, operations: Iterable[str]) -> str:
        """Return a digest of what is configured about the answers to *operations*."""

    def record_charge(self, charge: Charge) -> None:
        """Record *charge*."""
