"""Coalesce holds to the contract of layers."""

from argo_mw.testing import LayerConformance
from argo_mw_coalesce import plugin


class TestCoalesce(LayerConformance):
    name = "coalesce"
    plugin = plugin
