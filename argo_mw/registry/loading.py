"""The plugin manager: a typed facade over pluggy that keeps plugins apart.

Every hook is called for one plugin at a time. A plugin whose hook raises is left out and
reported, and the others go on; in strict mode its error is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, cast

import pluggy

from argo_mw.base.errors import ConfigError, PartlyFailed, PluginError
from argo_mw.base.log import Log
from argo_mw.base.secret import redact
from argo_mw.base.suggest import suggest
from argo_mw.config import structure
from argo_mw.registry import discovery, hooks
from argo_mw.registry.answers import checked
from argo_mw.registry.discovery import PROJECT, InstalledPlugin, rightful
from argo_mw.registry.report import BrokenPlugin
from argo_mw.registry.signature import explained, misfit, unmarked

T = TypeVar("T")
log = Log("argo_mw")

_OPTIONAL = (
    ": see the reference of hooks; for a hook of another plugin, which may be missing, "
    "mark it with @hookimpl(optionalhook=True)"
)


class Plugins:
    """The plugins of one application.

    Attributes:
        broken: Those that were left out, and why.
        configured: Each plugin's configuration, as last read.
        blocked: The names of those that are there and were not loaded, because they are blocked.
        on_left_out: Is called when a plugin was left out.
    """

    def __init__(self, *, strict: bool = False, required: Sequence[str] = ()) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hooks)
        self._strict = strict
        self._required = frozenset(required)
        self._origins: dict[str, str] = {}
        self._left_out: dict[str, object] = {}
        self.blocked: tuple[str, ...] = ()
        self.on_left_out: Callable[[], None] = lambda: None
        self.broken: list[BrokenPlugin] = []
        self.configured: dict[str, object] = {}

    @classmethod
    def load(
        cls,
        *,
        block: Sequence[str] = (),
        strict: bool = False,
        required: Sequence[str] = (),
        extra: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> Plugins:
        """Return the installed plugins and *extra* ones by name, less those in *block*.

        Raises:
            ConfigError: *block* or *required* names a plugin that is not there, or both the same.
            PluginError: A plugin is broken that is required, or any in strict mode.
        """
        plugins = cls(strict=strict, required=required)
        plugins.blocked = tuple(sorted(set(block)))
        found = discovery.discover() if installed else ()
        names = {f.name for f in found} | set(extra or {})
        for key, listed in (("block", block), ("required", required)):
            for name in listed:
                if name not in names:
                    raise ConfigError(_no_such_plugin(name, names, f"[argo] {key}"))
        for name in required:
            if name in block:
                msg = f"[argo]: {name!r} is named under required and under block; choose one"
                raise ConfigError(msg)
        for name in sorted({plugin.name for plugin in found}):
            if name not in block:
                plugins._import_one_of(name, [one for one in found if one.name == name])
        for name, thing in sorted((extra or {}).items()):
            if name not in block:
                plugins.add(name, thing)
        plugins._check_hooks()
        return plugins

    @classmethod
    def load_some(cls, found: Sequence[InstalledPlugin]) -> Plugins:
        """Return the plugins that were *found*, which are not all there are.

        Hooks of theirs that nobody offers may be those of plugins that are missing here.
        """
        plugins = cls()
        for one in found:
            plugins._import(one)
        return plugins

    @property
    def names(self) -> list[str]:
        """The names of the plugins in use, sorted."""
        return sorted(name for name, _ in self._manager.list_name_plugin())

    @property
    def absent(self) -> frozenset[str]:
        """The names of the plugins that are blocked or were left out."""
        broken = {one.plugin for one in self.broken}
        return frozenset(broken | set(self.blocked)) - set(self.names)

    def origin(self, name: str) -> str:
        """Return the distribution that plugin *name* came with."""
        return self._origins.get(name, "given by the program")

    def owner(self, module: str) -> str | None:
        """Return the name of the plugin whose package *module* belongs to, or ``None``."""
        package = module.partition(".")[0]
        for name, plugin in self._manager.list_name_plugin():
            home = getattr(plugin, "__name__", None) or type(plugin).__module__
            if package and home.partition(".")[0] == package:
                return name
        return None

    def add(self, name: str, plugin: object) -> None:
        """Register *plugin*, or an instance of it when it is a class, under *name*."""
        if self._manager.has_plugin(name):
            msg = (
                f"the name {name!r} is taken by the plugin {_from(self.origin(name))}; uninstall "
                "one of the two, or rename its entry point"
            )
            self._leave_out(name, "name", PluginError(msg, plugin=name), keep=True)
            return
        if isinstance(plugin, type):
            try:
                plugin = plugin()
            except (Exception, SystemExit) as error:
                self._leave_out(name, "import", error)
                return
        try:
            self._manager.register(plugin, name)
            specs = self._manager.subset_hook_caller("register_hookspecs", self._others(plugin))()
            for spec in cast("list[type]", specs):
                self._leave_out_misfits(spec)
                self._manager.add_hookspecs(spec)
        except Exception as error:
            self._leave_out(name, "hooks", explained(error, name, plugin, self._manager.hook))

    def instance(self, kind: type[T]) -> T | None:
        """Return the plugin in use that is a *kind*, or ``None``."""
        return next((p for p in self._manager.get_plugins() if isinstance(p, kind)), None)

    def call(self, name: str, hook: str, **arguments: object) -> object | None:
        """Return what plugin *name* answers to *hook*; ``None`` if it has no such hook or fails."""
        plugin = self._manager.get_plugin(name)
        if plugin is None:
            return None
        try:
            answers = self._manager.subset_hook_caller(hook, self._others(plugin))(**arguments)
            return checked(name, hook, answers[0]) if answers else None
        except Exception as error:
            self._leave_out(name, hook, error)
            return None

    def end(self, name: str, **arguments: object) -> object | None:
        """Return what plugin *name* answers to its hook ``shutdown``, also if it was left out."""
        plugin = self._left_out.pop(name, None)
        if plugin is None:
            return self.call(name, "shutdown", **arguments)
        alone = Plugins()
        alone.add(name, plugin)
        return alone.call(name, "shutdown", **arguments)

    def collect(self, hook: str, **arguments: object) -> dict[str, object]:
        """Return what every plugin that implements *hook* answers, by plugin, sorted by name."""
        answers = {name: self.call(name, hook, **arguments) for name in self.names}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def implementing(self, hook: str) -> list[str]:
        """Return the names of the plugins that implement *hook*, sorted."""
        return sorted(i.plugin_name for i in getattr(self._manager.hook, hook).get_hookimpls())

    def config_class(self, name: str) -> type | None:
        """Return the class of the plugin's configuration, or ``None``."""
        return cast("type | None", self.call(name, "register_config"))

    def configs(self, tables: Mapping[str, Mapping[str, object]], source: str) -> dict[str, object]:
        """Return every plugin's configuration, from the tables ``[plugins.NAME]``.

        Raises:
            ConfigError: A table belongs to no plugin, or cannot be used.
        """
        for name in tables:
            if name not in self.names and name not in self.absent:
                raise ConfigError(_no_such_plugin(name, self.names, f"{source} [plugins.{name}]"))
        configs = {name: self._config(name, tables.get(name, {}), source) for name in self.names}
        self.configured = {n: c for n, c in configs.items() if n in self.names}
        return self.configured

    def leave_out(self, name: str, stage: str, error: BaseException, *, keep: bool = False) -> None:
        """Stop using plugin *name*, because *stage* failed with *error*.

        Args:
            name: The plugin.
            stage: What failed.
            error: How.
            keep: Only report it: what it has registered stays in use, and its shutdown runs.

        Raises:
            PluginError: In strict mode.
        """
        self._leave_out(name, stage, error, keep=keep)

    def _config(self, name: str, table: Mapping[str, object], source: str) -> object:
        cls = self.config_class(name)
        where = f"{source} [plugins.{name}]"
        if cls is not None:
            return structure(table, cls, where=where)
        if table:
            msg = f"{where}: plugin {name!r} has no configuration; remove the table"
            raise ConfigError(msg)
        return None

    def _import_one_of(self, name: str, rivals: Sequence[InstalledPlugin]) -> None:
        """Import the rival that owns the name, or the only one.

        A rival that is refused is not imported, since importing it would run its code.
        """
        chosen = rightful(rivals)
        if chosen is not None:
            self._import(chosen)
        for one in rivals:
            if one is not chosen:
                error = PluginError(_taken(one, chosen, rivals), plugin=name)
                self._leave_out(name, "name", error, keep=True)

    def _import(self, found: InstalledPlugin) -> None:
        name = found.name
        try:
            plugin = found.entry_point.load()
        except (Exception, SystemExit) as error:
            self._leave_out(name, "import", error)
            return
        taken = self._manager.has_plugin(name)
        self.add(name, plugin)
        if not taken:
            self._origins[name] = found.distribution

    def _others(self, plugin: object) -> Iterable[object]:
        return [other for other in self._manager.get_plugins() if other is not plugin]

    def _leave_out_misfits(self, spec: type) -> None:
        """Leave out plugins that were there before *spec*, and cannot implement its hooks.

        pluggy would blame the plugin that brings the hooks.
        """
        trial = pluggy.PluginManager(PROJECT)
        trial.add_hookspecs(spec)
        for hook, caller in vars(trial.hook).items():
            present = getattr(self._manager.hook, hook, None)
            for implementation in list(present.get_hookimpls()) if present is not None else ():
                wrong = misfit(caller, implementation.plugin_name, implementation.function)
                if wrong is not None:
                    self._leave_out(implementation.plugin_name, "hooks", wrong)

    def _check_hooks(self) -> None:
        """Leave out plugins with hooks that do not exist, or that would never be called."""
        known = [caller.name for caller in self._callers() if caller.spec is not None]
        for name, plugin in list(self._manager.list_name_plugin()):
            if forgotten := unmarked(plugin, known):
                self._leave_out(name, "hooks", _not_marked(name, forgotten))
                continue
            for caller in self._manager.get_hookcallers(plugin) or []:
                if caller.spec is None and not self._is_optional(caller, plugin):
                    self._leave_out(name, "hooks", self._no_such_hook(name, caller.name))
                    break

    def _callers(self) -> list[pluggy.HookCaller]:
        callers = vars(self._manager.hook).values()
        return [caller for caller in callers if isinstance(caller, pluggy.HookCaller)]

    def _no_such_hook(self, name: str, hook: str) -> PluginError:
        known = [caller.name for caller in self._callers() if caller.spec is not None]
        hint = suggest(hook, known)
        hint = f"; {hint}" if hint.startswith("did") else _OPTIONAL
        return PluginError(f"it implements hook {hook!r}, which does not exist{hint}", plugin=name)

    @staticmethod
    def _is_optional(caller: pluggy.HookCaller, plugin: object) -> bool:
        return any(i.optionalhook for i in caller.get_hookimpls() if i.plugin is plugin)

    def _leave_out(
        self, name: str, stage: str, error: BaseException, *, keep: bool = False
    ) -> None:
        plugin = self._manager.get_plugin(name)
        if not keep and plugin is not None:
            self._manager.unregister(name=name)
        ours = isinstance(error, (PluginError, PartlyFailed))
        text = str(error) if ours else f"{type(error).__name__}: {error}"
        text = redact(text)
        # One that claims a taken name is left out itself, whatever becomes of the one that has it.
        broken = BrokenPlugin(name, stage, text, left_out=not keep or stage == "name")
        self.broken.append(broken)
        if self._strict or name in self._required:
            msg = f"plugin {name!r} failed at {stage}: {text}"
            raise PluginError(msg, plugin=name) from error
        log.warning(f"plugin {broken.what}", plugin=name, stage=stage, error=text)
        if not keep and plugin is not None:
            self._left_out[name] = plugin
            self.on_left_out()


def _not_marked(name: str, hook: str) -> PluginError:
    msg = (
        f"its {hook} has the name of a hook and is not marked, so nothing would ever call it: mark "
        "it with @hookimpl, or rename it"
    )
    return PluginError(msg, plugin=name)


def _no_such_plugin(name: str, known: Iterable[str], where: str) -> str:
    return f"{where} names plugin {name!r}, which is not installed: {suggest(name, known)}"


def _taken(
    refused: InstalledPlugin, owner: InstalledPlugin | None, rivals: Sequence[InstalledPlugin]
) -> str:
    if owner is not None:
        why = f"the name {refused.name!r} is taken by the plugin from {owner.distribution}"
    else:
        others = " and ".join(one.distribution for one in rivals if one is not refused)
        why = f"the name {refused.name!r} is claimed by {others} too, and is that of neither"
    return (
        f"{why}; the plugin from {refused.distribution} is not used: uninstall one of them, or "
        "rename its entry point"
    )


def _from(origin: str) -> str:
    return origin if origin.startswith("given") else f"from {origin}"
