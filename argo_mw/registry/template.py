"""Templates of plugins, which ``argo-mw new-plugin`` fills in."""

from __future__ import annotations

from importlib.resources.abc import Traversable

from attrs import frozen

_USAGE = "argo-mw flags set $name 10%\nargo-mw flags kill $name"


@frozen
class PluginTemplate:
    """A kind of plugin that ``argo-mw new-plugin`` can write.

    Files and texts are filled in with :class:`string.Template`: ``$name`` stands for the new
    plugin's name, ``$dashed`` and ``$upper`` for other spellings of it, ``$package`` for its
    package, ``$distribution`` for its distribution, ``$summary`` for what it does.

    Attributes:
        summary: What a plugin of the kind does, in a few words.
        folder: Holds ``plugin.py.tmpl``, with a class ``Plugin`` that becomes the entry point, and
            ``test_plugin.py.tmpl``.
        exports: The public names of the plugin's package.
        config: An example of its configuration, in TOML.
        usage: The lines of shell that its README shows.
        dependencies: What it needs beside argo-mw and attrs.
        commands: Lines for its entry-point group ``argo_mw.commands``: its commands, or that it
            has none; "" leaves that to the hook ``register_commands``.
        flags: The flags that it brings, which its entry-point group ``argo_mw.flags`` leads to;
            ``None`` leaves that to applications.
    """

    summary: str
    folder: Traversable
    exports: tuple[str, ...]
    config: str
    usage: str = _USAGE
    dependencies: tuple[str, ...] = ()
    commands: str = ""
    flags: tuple[str, ...] | None = None
