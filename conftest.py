"""How properties are tried: the same way each time, or, in ``make soak``, ever new ways."""

from __future__ import annotations

from hypothesis import settings

_REPRODUCIBLE = settings.get_profile("ci")
settings.register_profile("explore", _REPRODUCIBLE, derandomize=False, max_examples=1_000)
settings.load_profile("ci")
