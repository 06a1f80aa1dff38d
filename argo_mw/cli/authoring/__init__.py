"""Authoring: complete distributions for new plugins, from templates."""

from argo_mw.cli.authoring.distribution import KINDS, Distribution, Kind, write

__all__ = ["KINDS", "Distribution", "Kind", "write"]
