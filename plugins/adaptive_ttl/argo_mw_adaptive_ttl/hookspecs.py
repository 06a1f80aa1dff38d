"""The hooks that this plugin defines, for other plugins to implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from argo_mw.plugin import hookspec
from argo_mw_adaptive_ttl.policy import PolicyFactory
from argo_mw_adaptive_ttl.regime import Detector


@hookspec
def register_ttl_policies() -> Mapping[str, PolicyFactory]:  # type: ignore[empty-body]
    """Return policies by name: functions of the statistics and the context that make one.

    The name is then a value of ``policy`` in ``[plugins.adaptive_ttl]``. A policy that also is a
    :class:`~argo_mw_adaptive_ttl.RefreshPolicy` may let answers expire early.
    """


@hookspec
def register_regime_detectors() -> Mapping[str, Callable[[], Detector]]:  # type: ignore[empty-body]
    """Return regime detectors by name: functions that make one for a symbol.

    The name is then a value of ``regime_detector`` in ``[plugins.adaptive_ttl]``.
    """
