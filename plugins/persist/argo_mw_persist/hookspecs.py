"""The hook of this plugin's own, for other plugins to implement."""

from __future__ import annotations

from collections.abc import Mapping

from argo_mw.plugin import hookspec
from argo_mw_persist.sink import OpenSink


@hookspec
def register_sinks() -> Mapping[str, OpenSink]:  # type: ignore[empty-body]
    """Sinks by URL scheme: functions that make one, not opened yet, from its URL.

    What ``url`` in ``[plugins.persist]`` begins with chooses among them. Let
    ``argo_mw_persist.testing.SinkConformance`` check yours.

    Implement it with ``@hookimpl(optionalhook=True)``, so that the plugin also works where persist
    is not installed.
    """
