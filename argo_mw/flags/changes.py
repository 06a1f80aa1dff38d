"""Changes of a flag's rule by command, the same for one machine and for a fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import evolve

from argo_mw.flags.model import HOLDS, Rule

Change: TypeAlias = Callable[[Rule | None], Rule | None]
"""Returns a flag's new rule from its old one; ``None`` stands for no rule."""


def set_to(rule: Rule) -> Change:
    """Return the change that sets a flag to *rule*.

    Holds stay, and so do single subjects where *rule* names none.
    """

    def change(old: Rule | None) -> Rule:
        if old is None:
            return rule
        subjects = rule.subjects or old.subjects
        return evolve(rule, killed=old.killed, rolled_back=old.rolled_back, subjects=subjects)

    return change


def kill(old: Rule | None) -> Rule:
    """Hold the flag off, before everything else."""
    return evolve(old or HOLDS, killed=True)


def roll_back(why: str) -> Change:
    """Return the change that holds a flag off for the reason *why*."""
    return lambda old: evolve(old or HOLDS, rolled_back=why)


def revive(old: Rule | None) -> Rule | None:
    """End a kill or a rollback; what else was set stays."""
    if old is None or old.only_holds:
        return None
    return evolve(old, killed=False, rolled_back="")


def unset(_: Rule | None) -> None:
    """Take away what was set."""
