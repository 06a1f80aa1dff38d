"""Epochs: they tell when a shared store has lost what it counted.

``part`` keeps the ``epoch`` of one part of a store, with the ``marks`` of what it was seen to hold;
``by_part`` does so for all parts. After a copy has taken over, ``rebuild`` adds again what it
lacks, and the ``roll`` says who has to.
"""

from __future__ import annotations

from argo_mw.store.epochs.by_part import Epochs
from argo_mw.store.epochs.epoch import Epoch
from argo_mw.store.epochs.part import LOSS

__all__ = ["LOSS", "Epoch", "Epochs"]
