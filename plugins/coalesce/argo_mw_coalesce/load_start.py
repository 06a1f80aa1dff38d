"""The beginning of a load, which a flight hands to the layers of this plugin further in."""

from __future__ import annotations

from msgspec import Struct

from argo_mw.plugin import Handover
from argo_mw.store import TagSnapshot

LOAD_START = "coalesce.load_start"
"""The extension of a call with the :class:`LoadStart` of its flight."""


class LoadStart(Struct, frozen=True, eq=False):
    """The beginning of a load.

    Attributes:
        began: Seconds since the epoch.
        tag_snapshot: The versions that the call's tags had then. A result of earlier versions is
            not for this call.
        handover: By which a cache says that it keeps the answer.
    """

    began: float
    tag_snapshot: TagSnapshot
    handover: Handover
