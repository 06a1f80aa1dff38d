"""The beginning of a load, which a flight hands to the layers of this plugin further in."""

from __future__ import annotations

from msgspec import Struct

from argo_mw.plugin import Handover
from argo_mw.store import TagSnapshot

LOAD_START = "coalesce.load_start"
"""The extension in which a flight hands its :class:`LoadStart` on."""


class LoadStart(Struct, frozen=True, eq=False):
    """The beginning of a load.

    Attributes:
        began: Seconds since the epoch.
        tag_snapshot: The versions that the call's tags had then: a result from before an
            invalidation that the call comes after is not for it.
        handover: The agreement with a cache on the way.
    """

    began: float
    tag_snapshot: TagSnapshot
    handover: Handover
