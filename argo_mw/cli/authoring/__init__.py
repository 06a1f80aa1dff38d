"""Authoring: complete distributions for new plugins, from templates."""

from argo_mw.cli.authoring.distribution import Distribution, write
from argo_mw.cli.authoring.kinds import CORE_KINDS, known_kinds

__all__ = ["CORE_KINDS", "Distribution", "known_kinds", "write"]
