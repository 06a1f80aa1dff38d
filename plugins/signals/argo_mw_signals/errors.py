"""What can go wrong with recorded signals."""

from __future__ import annotations

from argo_mw.plugin import ArgoError


class SignalsError(ArgoError):
    """The root of this plugin's errors."""


class UnknownSignal(SignalsError):
    """There is no recorded signal with this identifier."""
