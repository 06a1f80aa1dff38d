"""Reports say how percentiles have changed."""

import numpy as np
import pytest

from argo_mw_rollout.statistics import words
from argo_mw_rollout.statistics.percentiles import percentile_change


def test_the_change_of_a_percentile_is_within_its_interval() -> None:
    random = np.random.default_rng(1)
    control = np.sort(random.lognormal(0.0, 0.5, 20_000))
    treatment = control[:10_000:1] * 0.62

    found = percentile_change(
        lambda share: float(np.quantile(control * 0.62, share)),
        lambda share: float(np.quantile(control, share)),
        (len(treatment), len(control)),
        0.99,
    )

    assert found is not None
    change, low, high = found
    assert change == pytest.approx(-0.38)
    assert -0.6 < low < -0.38 < high < -0.1
    assert words.percentile("p99", (-0.38, -0.45, -0.31)) == "p99 −38 % (−45 to −31)"


@pytest.mark.parametrize("calls", [(0.0, 1000.0), (50.0, 1000.0)])
def test_too_few_calls_have_no_interval(calls: tuple[float, float]) -> None:
    assert percentile_change(lambda _: 1.0, lambda _: 1.0, calls, 0.99) is None


def test_without_values_there_is_no_change() -> None:
    assert percentile_change(lambda _: None, lambda _: 1.0, (1e4, 1e4), 0.99) is None
