"""The overview: what running programs do now, for every screen that shows it.

All of it is read: counters, panels, flags, the journal. Nothing here counts a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from argo_mw.app.engine import Engine
from argo_mw.app.pipeline import UPSTREAM_FLAG, Pipeline
from argo_mw.app.rates import Growth, Rates
from argo_mw.app.watched_diagnosis import WatchedDiagnosis
from argo_mw.base.errors import BadParameter, ConfigError, SharedUnavailable
from argo_mw.base.suggest import suggest
from argo_mw.chain.context import Context
from argo_mw.chain.order import order
from argo_mw.counters.counts import Counts, InstanceCounts, total
from argo_mw.counters.published import CountersOf
from argo_mw.flags.parse import format_rule
from argo_mw.model.layer import Layer
from argo_mw.model.panel import Column, Panel, View
from argo_mw.model.snapshot import (
    ButtonNow,
    InstanceNow,
    JournalEntry,
    LayerNow,
    OperationNow,
    PanelNow,
    ProgramsNow,
    UpstreamNow,
)

_JOURNAL: Final = 50

_MOST_LINES: Final = 5_000
"""Lines of a panel that are sent to screens, of all programs together."""

_LEAST_LINES: Final = 50
"""Lines of a panel that are sent for each program, however many there are."""
_ALONE: Final = "[argo] shared is memory://, so that no other program's counters are seen here"
_NONE: Final = (
    "no program is seen: one appears after its first call, if it has the same [argo] shared"
)


class LiveOverview:
    """See :class:`~argo_mw.plugin.Overview`.

    Args:
        engine: Has the chain of this application: the same as in the programs that are looked at.
        context: Where all is read.
        diagnosis: Says what is not well.
        of: Of which programs: of this one, of its machine, or of the fleet.
        instance: The name of the only one that is looked at; "" for all.
    """

    def __init__(
        self,
        engine: Engine,
        context: Context,
        diagnosis: WatchedDiagnosis,
        of: CountersOf = "fleet",
        instance: str = "",
    ) -> None:
        self._engine = engine
        self._context = context
        self._diagnosis = diagnosis
        self._of: CountersOf = of
        self._instance = instance
        self._rates = Rates()

    async def read(self) -> ProgramsNow:
        """Return what they do now."""
        context = self._context
        problems: list[str] = []
        journal: Sequence[JournalEntry] = ()
        others: Mapping[str, Mapping[str, View]] = {}
        try:
            found = await context.counters.read(self._of)
            await context.panels.look()
            names = [one.instance for one in found if one.instance != context.counters.instance]
            others = await context.panels.read_others([n for n in names if self._wanted(n)])
            journal = (await context.journal.read())[:_JOURNAL]
        except SharedUnavailable as error:
            found = await context.counters.read("instance")
            problems.append(f"the shared store is away, so only this program is shown: {error}")
        if (unseen := self._unseen([one.instance for one in found])) and not problems:
            problems.append(unseen)
        chosen = [one for one in found if self._wanted(one.instance)]
        growth = self._rates.read(chosen, context.clock.monotonic())
        pipeline = self._engine.pipeline
        return ProgramsNow(
            at=context.clock.time(),
            seconds=growth.seconds,
            instances=_instances(found, growth),
            layers=_layers(pipeline, growth),
            upstreams=_upstreams(pipeline, growth),
            operations=_operations(chosen, growth),
            panels=await self._panels(others, here=self._is_shown_here(found)),
            problems=[*problems, *await self._diagnosis.problems()],
            journal=journal,
        )

    async def press(self, panel: str, button: str, key: str) -> str:
        """Do what *button* of *panel* does to the line with *key*, and write that down."""
        panels = self._context.panels.all
        if panel not in panels:
            msg = f"there is no panel {panel!r}: {suggest(panel, panels)}"
            raise BadParameter(msg)
        buttons = {one.name: one for one in panels[panel].buttons}
        if button not in buttons:
            msg = f"panel {panel!r} has no button {button!r}: {suggest(button, buttons)}"
            raise BadParameter(msg)
        done = await buttons[button].press(key)
        if not buttons[button].in_journal:
            await self._context.journal.note(f"{panels[panel].title}: {done}", "by a person")
        return done

    def _unseen(self, names: Sequence[str]) -> str:
        """Return why nothing is shown, or "" where something is."""
        if not names:
            return _ALONE if self._context.single_process else _NONE
        if self._instance and self._instance not in names:
            return f"no program {self._instance!r} is seen now: {suggest(self._instance, names)}"
        return ""

    def _wanted(self, instance: str) -> bool:
        return self._instance in ("", instance)

    def _is_shown_here(self, found: Iterable[InstanceCounts]) -> bool:
        """Return whether the panels of this very program are shown: it has done something."""
        own = self._context.counters.instance
        return self._wanted(own) and any(one.instance == own for one in found)

    async def _panels(
        self, others: Mapping[str, Mapping[str, View]], *, here: bool
    ) -> Sequence[PanelNow]:
        panels = self._context.panels
        fleet = await panels.read_here(fleet=True)
        own = await panels.read_here(fleet=False) if here else {}
        shown = []
        for panel in panels.all.values():
            if panel.fleet:
                views = {"": fleet[panel.name]}
            else:
                views = {name: by[panel.name] for name, by in others.items() if panel.name in by}
                if panel.name in own:
                    views[self._context.counters.instance] = own[panel.name]
            shown.append(_panel(panel, views))
        return shown


def _layers(pipeline: Pipeline, growth: Growth) -> Sequence[LayerNow]:
    try:
        placed = order(pipeline.layers)
    except ConfigError:  # what is off may stand in the way of what is on
        placed = pipeline.order
    acting = {*pipeline.order.outer, *pipeline.order.inner}
    hits: dict[str, float] = {}
    for operation in growth.counts:
        for layer, rate in growth.per_second(operation).hits.items():
            hits[layer] = hits.get(layer, 0.0) + rate

    def seen(layer: Layer, *, inner: bool) -> LayerNow:
        acts = {name: rate for name, rate in growth.acts.get(layer.name, {}).items() if rate}
        acts.pop("hit", None)
        if rate := hits.get(layer.name):
            acts = {"hit": rate, **acts}
        rule = format_rule(pipeline.flags[layer.flag].rule)
        return LayerNow(layer.name, layer.flag, rule, acts, inner, layer not in acting)

    return [seen(one, inner=False) for one in placed.outer] + [
        seen(one, inner=True) for one in placed.inner
    ]


def _upstreams(pipeline: Pipeline, growth: Growth) -> Sequence[UpstreamNow]:
    asked: dict[str, float] = {}
    for operation in growth.counts:
        for upstream, rate in growth.per_second(operation).requests_to.items():
            asked[upstream] = asked.get(upstream, 0.0) + rate
    return [
        UpstreamNow(
            name,
            sorted(bound.upstream.operations & pipeline.operations.keys()),
            format_rule(pipeline.flags[UPSTREAM_FLAG + name].rule),
            asked.get(name, 0.0),
        )
        for name, bound in sorted(pipeline.upstreams.items())
    ]


def _operations(found: Iterable[InstanceCounts], growth: Growth) -> Sequence[OperationNow]:
    sums = total((counts for one in found for counts in one.counts), by_arm=False)
    return [
        _operation(one, growth.counts[one.operation], growth.per_second(one.operation))
        for one in sums
    ]


def _operation(sums: Counts, grown: Counts, rates: Counts) -> OperationNow:
    # At what an answer has cost since the start: in a window there may be none.
    price = sums.usd / sums.loads if sums.loads else 0.0
    return OperationNow(
        name=sums.operation,
        total=sums.calls,
        calls=rates.calls,
        hits=dict(rates.hits),
        loads=rates.loads,
        errors=cast("Mapping[str, float]", dict(rates.errors)),
        hit_rate=grown.hit_rate,
        p50=grown.percentile(0.5),
        p95=grown.percentile(0.95),
        p99=grown.percentile(0.99),
        age_p50=grown.age.quantile(0.5),
        age_p95=grown.age.quantile(0.95),
        tokens=rates.tokens_in + rates.tokens_out,
        usd=rates.usd * 3_600.0,
        saved_usd={name: rate * price * 3_600.0 for name, rate in rates.hits.items() if price},
        unpriced=rates.unpriced,
    )


def _instances(found: Iterable[InstanceCounts], growth: Growth) -> Sequence[InstanceNow]:
    """Return all that were found: a person chooses among them."""
    return [
        InstanceNow(one.instance, one.machine, one.build, growth.calls.get(one.instance, 0.0))
        for one in sorted(found, key=lambda one: one.instance)
    ]


def _panel(panel: Panel, views: Mapping[str, View]) -> PanelNow:
    columns = [Column(one) if isinstance(one, str) else one for one in panel.columns]
    buttons = [ButtonNow(one.name, one.label, one.question) for one in panel.buttons]
    most = max(_LEAST_LINES, _MOST_LINES // max(1, len(views)))
    shown = {name: _beginning(view, most) for name, view in views.items()}
    return PanelNow(panel.name, panel.title, columns, buttons, shown)


def _beginning(view: View, lines: int) -> View:
    if len(view.lines) <= lines:
        return view
    hint = f"{lines} lines of each program: look at one of them to see the rest"
    return View(view.lines[:lines], view.plots, f"{view.text} {hint}".strip())
