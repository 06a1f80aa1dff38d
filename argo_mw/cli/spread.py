"""``--on``: where a command's work is done."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from argo_mw.app.access import spreads_of
from argo_mw.app.application import Argo
from argo_mw.base.errors import ConfigError
from argo_mw.registry.spread import Spread


def spread(argo: Argo, on: str) -> AbstractAsyncContextManager[Spread]:
    """Return what asks operations of *argo* in other processes, to be entered with ``async with``.

    Args:
        argo: The command's application, open.
        on: Where those are, such as ``local:4``: a scheme that a plugin registers, and what it
            says about itself.

    Raises:
        ConfigError: No plugin in use knows the scheme.
    """
    known = spreads_of(argo)
    scheme = on.partition(":")[0]
    if scheme not in known:
        offered = ", ".join(f"{one}:…" for one in sorted(known))
        advice = f"there are {offered}" if known else "install argo-mw-fleet, which brings some"
        msg = f"no plugin in use spreads work on {on!r}; {advice}"
        raise ConfigError(msg)
    return known[scheme](on, argo.settings)
