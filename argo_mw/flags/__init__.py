"""Flags: they decide, per call, whether a layer acts."""

from argo_mw.flags.model import OFF, ON, Arm, Asker, Decision, DecisionReason, Flag, Rule

__all__ = ["OFF", "ON", "Arm", "Asker", "Decision", "DecisionReason", "Flag", "Rule"]
