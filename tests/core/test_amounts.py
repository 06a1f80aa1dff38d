"""Amounts as people read them."""

from __future__ import annotations

import pytest

from argo_mw.plugin import dollars


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (None, "unknown"),
        (0.0, "0"),
        (1234.5, "1234.5000"),
        (1.25, "1.2500"),
        (0.01234, "0.0123"),
        (0.001, "0.0010"),
        (0.00042, "0.00042"),
        (0.000999, "0.00100"),
        (1.6e-9, "0.000000002"),
        (1e-9, "0.000000001"),
        (1e-12, "under 0.000000001"),
        (-0.00042, "-0.00042"),
    ],
)
def test_a_small_amount_is_no_row_of_zeros(usd: float | None, expected: str) -> None:
    assert expected == dollars(usd)
