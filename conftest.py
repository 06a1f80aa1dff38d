"""How properties are tried: the same way each time, or, in ``make soak``, ever new ways."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from argo_mw.base import secret

_REPRODUCIBLE = settings.get_profile("ci")
settings.register_profile("explore", _REPRODUCIBLE, derandomize=False, max_examples=1_000)
settings.load_profile("ci")


# Tables are as wide as their columns: processes that run tests are given a size of no terminal.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _the_log_is_configured_by_nobody() -> Iterator[None]:
    """Take back what a command has configured, or the log of later tests goes where it said."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="module")
def _secrets_end_with_their_module() -> Iterator[None]:
    """Forget the secrets of a module, or its words would be struck out of others' messages."""
    yield
    secret._known = secret._KnownSecrets()
