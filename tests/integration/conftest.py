"""What most tests of several layers need: a clock, and a store that instances share."""

from __future__ import annotations

import itertools

import pytest

from argo_mw.testing import FakeClock

_names = itertools.count()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> str:
    """The URL of a store in memory that only this test uses."""
    return f"memory://integration-{next(_names)}"
