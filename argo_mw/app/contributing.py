"""Contributing: what plugins bring into the pipeline, each asked once for its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from attrs import evolve, fields

from argo_mw.app.pipeline import Contributions, Pipeline
from argo_mw.app.stand_ins import StandIns
from argo_mw.base.errors import PluginError
from argo_mw.chain.context import Context
from argo_mw.config import Settings
from argo_mw.model.charge import CostTable
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation
from argo_mw.model.upstream import Upstream
from argo_mw.registry import Plugins


class Contributing:
    """Asks the plugins of one application what they contribute.

    Args:
        plugins: The plugins in use.
        context: Their context.
        given: What the program itself brings, by name.
    """

    def __init__(
        self, plugins: Plugins, context: Context, given: Mapping[str, Contributions]
    ) -> None:
        self._plugins = plugins
        self._context = context
        self._given = given
        self._stand_ins = StandIns()

    def collect(self, settings: Settings, previous: Pipeline | None) -> dict[str, Contributions]:
        """Return what each plugin contributes by *settings*, and what stands in for those left out.

        Plugins whose table has not changed since *previous* are not asked again.

        Raises:
            ConfigError: A table of a plugin cannot be used.
            PluginError: A plugin is broken, in strict mode.
        """
        configs = self._plugins.configs(settings.plugins, settings.source)
        made: dict[str, Contributions] = {}
        for name, config in configs.items():
            old = previous.contributions.get(name) if previous is not None else None
            if old is not None and old.config == config:
                made[name] = old
            else:
                made[name] = self._ask(name, config)
        made = {**{n: c for n, c in made.items() if n in self._plugins.names}, **self._given}
        found = self._with_derived(made)
        left_out = [one for one in self._plugins.broken if one.plugin not in self._plugins.names]
        return {**found, **self._stand_ins.of(left_out)}

    def _with_derived(self, made: Mapping[str, Contributions]) -> dict[str, Contributions]:
        """Return what plugins have *made*, and the operations that are derived from it.

        Some may be derived from others, which takes as many rounds.
        """
        found = dict(made)
        broken = len(self._plugins.broken)
        deriving = self._plugins.implementing("register_derived_operations")
        for _ in deriving:
            before = dict(found)
            for name in deriving:
                if name in found:
                    derived = self._derived(name, found)
                    if not _same(derived, found[name].derived):
                        found[name] = evolve(found[name], derived=derived)
            if found == before:
                break
        if len(self._plugins.broken) > broken:
            # What others have derived may count on a plugin that is left out now.
            return self._with_derived({n: c for n, c in made.items() if self._in_use(n)})
        return found

    def _derived(self, name: str, found: Mapping[str, Contributions]) -> tuple[AnyOperation, ...]:
        answer = self._plugins.call(
            name,
            "register_derived_operations",
            config=found[name].config,
            context=self._context,
            operations={o.name: o for one in found.values() for o in one.all_operations},
        )
        return tuple(cast("Iterable[AnyOperation]", answer or ()))

    def _in_use(self, name: str) -> bool:
        return name in self._plugins.names or name in self._given

    def leave_out_unserving(
        self,
        contributions: Mapping[str, Contributions],
        operations: Mapping[str, AnyOperation],
    ) -> bool:
        """Leave out plugins whose layers' ``serves`` fails; return whether there were any."""
        before = len(self._plugins.broken)
        for name, one in contributions.items():
            try:
                for layer in one.layers:
                    for operation in operations.values():
                        layer.serves(operation)
            except Exception as error:
                self._plugins.leave_out(name, "serves", error)
        return len(self._plugins.broken) > before

    def _ask(self, name: str, config: object) -> Contributions:
        arguments = {"config": config, "context": self._context}
        layers = self._plugins.call(name, "register_layers", **arguments)
        if name in self._plugins.names:
            self._stand_ins.remember(name, tuple(cast("Iterable[Layer]", layers or ())))
        operations = self._plugins.call(name, "register_operations", config=config)
        upstreams = self._plugins.call(name, "register_upstreams", **arguments)
        flags = self._plugins.call(name, "register_flags")
        data_types = self._plugins.call(name, "register_data_types")
        cost_table = self._plugins.call(name, "register_cost_table", **arguments)
        made = Contributions(
            config,
            operations=tuple(cast("Iterable[AnyOperation]", operations or ())),
            upstreams=tuple(cast("Iterable[Upstream]", upstreams or ())),
            layers=tuple(cast("Iterable[Layer]", layers or ())),
            flags=tuple(cast("Iterable[str]", flags or ())),
            data_types=tuple(cast("Iterable[str]", data_types or ())),
            cost_table=cast("CostTable | None", cost_table),
        )
        self._check_names(name, made)
        return made

    def _check_names(self, name: str, made: Contributions) -> None:
        """Leave plugin *name* out if what it brings does not bear its name."""
        for layer in made.layers:
            if layer.flag != name or layer.name.endswith("."):
                msg = (
                    f"its layer is called {layer.name!r}; call it {name!r}, or {name}.PART where "
                    "the plugin has several"
                )
                self._plugins.leave_out(name, "register_layers", PluginError(msg, plugin=name))
        for flag in made.flags:
            if not flag.startswith(f"{name}."):
                msg = f"it registers flag {flag!r}; write {name + '.' + flag!r}"
                self._plugins.leave_out(name, "register_flags", PluginError(msg, plugin=name))


def _same(some: Sequence[AnyOperation], others: Sequence[AnyOperation]) -> bool:
    """Return whether two lists of operations are equal in every field of every operation."""
    return [_all_fields(one) for one in some] == [_all_fields(one) for one in others]


def _all_fields(operation: AnyOperation) -> tuple[object, ...]:
    names = [field.name for field in fields(type(operation)) if field.init]
    return (type(operation), *(getattr(operation, name) for name in names))
