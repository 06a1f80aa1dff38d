"""A moment: everything that metrics are read from, taken at once."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property

from attrs import define, field

from argo_mw.plugin import (
    Closed,
    Context,
    Counts,
    Flag,
    InstanceCounts,
    Standing,
    UnknownOperation,
    total,
)

FLAG_STATES = ("on", "percent", "shadow", "off", "killed", "rolled_back")
"""What a flag can be set to; the last two hold it off, before everything else."""


@define(slots=False)
class Moment:
    """What an application had counted, and how it was set, at one moment.

    Attributes:
        here: What this instance has counted.
        flags: The flags, by name.
        providers: The names of the providers behind upstreams, in OpenTelemetry's conventions;
            "" behind those that answer with no inference.
        computed: The operations that are computed here, so that no request is sent for them.
        standings: How guards stand to the upstreams that were asked, by upstream and guard.
    """

    here: InstanceCounts
    flags: Mapping[str, Flag]
    providers: Mapping[str, str] = field(factory=dict)
    computed: frozenset[str] = frozenset()
    standings: Mapping[tuple[str, str], Standing] = field(factory=dict)

    @cached_property
    def counts(self) -> list[Counts]:
        """What was counted, by operation."""
        return total(self.here.counts, by_arm=False)

    @cached_property
    def arms(self) -> dict[tuple[str, str, str], Counts]:
        """What was counted in the arms of flags, by flag, arm and operation."""
        found: dict[tuple[str, str, str], Counts] = {}
        for counts in self.here.counts:
            for flag, arm in counts.arms:
                key = (flag, arm, counts.operation)
                found.setdefault(key, Counts(counts.operation)).add(counts)
        return found

    def flag_states(self) -> Iterator[tuple[str, str]]:
        """Yield each flag with its state, one of :data:`FLAG_STATES`."""
        for name, flag in sorted(self.flags.items()):
            yield name, state_of(flag)


def state_of(flag: Flag) -> str:
    """Return what *flag* is set to, in one word of :data:`FLAG_STATES`."""
    rule = flag.rule
    if rule.killed:
        return "killed"
    if rule.rolled_back:
        return "rolled_back"
    return "percent" if rule.percent is not None else rule.state


PYTHON = platform.python_version()


class Moments:
    """Takes moments of one application, on its event loop.

    Args:
        context: The application's context.
        providers: The names of the providers behind upstreams, in OpenTelemetry's conventions.
    """

    def __init__(self, context: Context, providers: Mapping[str, str]) -> None:
        self._context = context
        self._providers = providers
        self._flags: Mapping[str, Flag] = {}
        self._computed: dict[str, bool] = {}
        self._standings: Mapping[tuple[str, str], Standing] = {}

    def take(self) -> Moment:
        """Return this moment."""
        here = self._context.counters.here()
        with suppress(Closed):  # those of before, while it closes
            self._flags = dict(self._context.flags.all)
            self._standings = self._context.standings()
        for one in here.counts:
            if one.operation not in self._computed:
                # An operation that is not offered any more was asked before.
                with suppress(Closed, UnknownOperation):
                    kind = self._context.operation(one.operation).kind
                    self._computed[one.operation] = kind == "compute"
        computed = frozenset(name for name, so in self._computed.items() if so)
        asked = {upstream for one in here.counts for upstream in one.upstreams}
        standings = {key: one for key, one in self._standings.items() if key[0] in asked}
        return Moment(here, self._flags, self._providers, computed, standings)
