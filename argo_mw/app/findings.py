"""Findings: what checks of an application have shown."""

from __future__ import annotations

from attrs import field, frozen

from argo_mw.base.secret import redact


@frozen
class Finding:
    """The result of one check.

    Attributes:
        where: The part of the application.
        what: What was looked at.
        well: Whether it is as it should be.
        found: What was found, or what to do; it shows no secret.
    """

    where: str
    what: str
    well: bool
    found: str = field(converter=redact)
