"""Configuration: ``argo.toml`` into checked, typed values."""

from argo_mw.config.convert import structure
from argo_mw.config.load import load, parse
from argo_mw.config.secret import Secret
from argo_mw.config.settings import ArgoSettings, OperationSettings, Settings, UpstreamSettings

__all__ = [
    "ArgoSettings",
    "OperationSettings",
    "Secret",
    "Settings",
    "UpstreamSettings",
    "load",
    "parse",
    "structure",
]
