"""Flags: they decide, per call, whether a layer acts."""

from argo_mw.flags.model import OFF, ON, Arm, Decision, DecisionReason, Flag, Rule

__all__ = ["OFF", "ON", "Arm", "Decision", "DecisionReason", "Flag", "Rule"]
