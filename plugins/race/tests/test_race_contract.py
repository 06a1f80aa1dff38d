"""Race holds to the contract of layers."""

from argo_mw.testing import LayerConformance
from argo_mw_race import plugin


class TestRace(LayerConformance):
    name = "race"
    plugin = plugin
