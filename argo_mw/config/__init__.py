"""Configuration: ``argo.toml`` into checked, typed values."""

from argo_mw.base.secret import Secret, SecretUrl, redact, redact_url
from argo_mw.config.convert import Duration, Shown, Size, structure
from argo_mw.config.load import load, load_state_dir, parse
from argo_mw.config.settings import ArgoSettings, OperationSettings, Settings, UpstreamSettings

__all__ = [
    "ArgoSettings",
    "Duration",
    "OperationSettings",
    "Secret",
    "SecretUrl",
    "Settings",
    "Shown",
    "Size",
    "UpstreamSettings",
    "load",
    "load_state_dir",
    "parse",
    "redact",
    "redact_url",
    "structure",
]
