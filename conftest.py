"""How properties are tried: the same way each time, or, in ``make soak``, ever new ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from argo_mw.base import secret

_REPRODUCIBLE = settings.get_profile("ci")
settings.register_profile("explore", _REPRODUCIBLE, derandomize=False, max_examples=1_000)
settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="module")
def _secrets_end_with_their_module() -> Iterator[None]:
    """Forget the secrets of a module, or its words would be struck out of others' messages."""
    yield
    secret._known = secret._KnownSecrets()
