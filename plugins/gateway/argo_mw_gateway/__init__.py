"""The chain for programs of any language: an HTTP gateway in the providers' own protocols."""

from argo_mw_gateway.app import Gateway
from argo_mw_gateway.config import GatewayConfig
from argo_mw_gateway.plugin import GatewayPlugin

__all__ = ["Gateway", "GatewayConfig", "GatewayPlugin"]
