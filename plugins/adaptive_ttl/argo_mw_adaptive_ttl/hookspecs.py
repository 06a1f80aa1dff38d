"""The hooks of this plugin's own, for other plugins to implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from argo_mw.plugin import hookspec
from argo_mw_adaptive_ttl.policy import PolicyFactory
from argo_mw_adaptive_ttl.regime import Detector


@hookspec
def register_ttl_policies() -> Mapping[str, PolicyFactory]:  # type: ignore[empty-body]
    """Policies by name: functions of the memory and the context that make one.

    The name is what ``policy`` in ``[plugins.adaptive_ttl]`` may then say. A policy that also is
    a :class:`~argo_mw_adaptive_ttl.Watching` may give answers up early.
    """


@hookspec
def register_regime_detectors() -> Mapping[str, Callable[[], Detector]]:  # type: ignore[empty-body]
    """Regime detectors by name: functions that make one for a symbol.

    The name is what ``regimes`` in ``[plugins.adaptive_ttl]`` may then say.
    """
