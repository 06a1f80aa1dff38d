"""The kinds of plugin that ``argo-mw new-plugin`` can write: the core's and those of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import cast

from argo_mw.base.errors import ConfigError
from argo_mw.registry import Plugins, PluginTemplate
from argo_mw.registry.discovery import NO_COMMANDS

_FOLDER = files("argo_mw.cli.authoring") / "templates"

_NO_COMMANDS = f'$name = "{NO_COMMANDS}"'

CORE_KINDS: Mapping[str, PluginTemplate] = {
    "layer": PluginTemplate(
        summary="Notes on answers that they were slow",
        folder=_FOLDER / "layer",
        exports=("SlowNotes", "Config", "Plugin"),
        config="[plugins.$name]\nslow_after = 1.0  # seconds",
        commands=_NO_COMMANDS,
        flags=("$name",),
    ),
    "upstream": PluginTemplate(
        summary="Forecasts from one more service",
        folder=_FOLDER / "upstream",
        exports=("Service", "Config", "Plugin"),
        config='[plugins.$name]\nkey = "$${${upper}_KEY}"  # from the environment',
        usage="argo-mw flags set upstream.$name 10%\nargo-mw flags kill upstream.$name",
        dependencies=("httpx2>=2.16",),
        commands=_NO_COMMANDS,
        flags=("upstream.$name",),
    ),
    "observer": PluginTemplate(
        summary="Keeps a line of JSON for every call that ended",
        folder=_FOLDER / "observer",
        exports=("JsonLines", "Config", "Plugin"),
        config='[plugins.$name]\nfile = "$name.jsonl"  # in the state directory',
        usage="argo-mw flags set $name.lines 10%\nargo-mw flags kill $name.lines",
        commands=_NO_COMMANDS,
        flags=("$name.lines",),
    ),
    "command": PluginTemplate(
        summary="A further command of argo-mw",
        folder=_FOLDER / "command",
        exports=("Config", "Plugin", "command"),
        config='[plugins.$name]\ntitle = "layers"',
        usage="argo-mw $dashed",
        commands='$dashed = "$package.plugin:command"',
        flags=(),
    ),
}


def known_kinds(plugins: Plugins) -> Mapping[str, PluginTemplate]:
    """Return the templates of the core and of *plugins*, by kind.

    Raises:
        ConfigError: Two bring the same kind.
    """
    kinds = dict(CORE_KINDS)
    for plugin, answer in plugins.collect("register_templates").items():
        for kind, template in cast("Mapping[str, PluginTemplate]", answer).items():
            if kind in kinds:
                msg = (
                    f"plugin {plugin!r} brings templates of kind {kind!r}, which is taken; "
                    "rename its kind, or leave the plugin out with block in [argo]"
                )
                raise ConfigError(msg)
            kinds[kind] = template
    return kinds
