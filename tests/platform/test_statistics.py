"""Statistics against hand-computed cases, scipy, and their own promises."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, t, trim_mean

from tenfold.platform.statistics import band, estimate, iqm, mean, probability_of_improvement


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    scores = np.array([100.0, 1.0, 3.0, 2.0, 4.0, -50.0, 5.0, 6.0])
    assert iqm(scores) == pytest.approx(np.mean([2.0, 3.0, 4.0, 5.0]))
    assert iqm(scores) == trim_mean(scores, 0.25)


def test_strata_are_pooled_and_may_have_unequal_sizes() -> None:
    strata = [np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0])]
    assert estimate(strata, mean).value == pytest.approx(36 / 5)
    shuffled = [strata[0][::-1], strata[1][::-1]]
    assert estimate(shuffled, mean).value == estimate(strata, mean).value


def test_one_seed_has_no_interval_and_equal_seeds_have_a_point() -> None:
    single = estimate([np.array([3.0])], mean)
    assert (single.value, single.low, single.high) == (3.0, None, None)
    equal = estimate([np.array([3.0, 3.0])], mean)
    assert (equal.value, equal.low, equal.high) == (3.0, 3.0, 3.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for repetition in range(200):
        strata = [rng.normal(0, 1, 20), rng.normal(0, 3, 20)]
        found = estimate(strata, mean, seed=repetition, resamples=300)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    # 95 % of 200 is 190; percentile intervals of 20 seeds run a little short.
    assert 176 <= covered <= 199


def test_resampling_stays_within_the_strata() -> None:
    # Tasks of different scale but no spread within a task leave no uncertainty.
    strata = [np.array([1.0, 1.0, 1.0]), np.array([50.0, 50.0, 50.5])]
    found = estimate(strata, mean)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low <= 0.5


@pytest.mark.parametrize("mode", ["min", "max"])
def test_probability_of_improvement_is_mann_whitney_over_pairs(mode: str) -> None:
    rng = np.random.default_rng(1)
    ours = [rng.integers(0, 6, 7).astype(float), rng.integers(0, 6, 5).astype(float)]
    theirs = [rng.integers(0, 6, 4).astype(float), rng.integers(0, 6, 9).astype(float)]
    found = probability_of_improvement(ours, theirs, mode)
    by_task = []
    for x, y in zip(ours, theirs, strict=True):
        wins = [0.5 if a == b else float(a < b if mode == "min" else a > b) for a in x for b in y]
        u = mannwhitneyu(x, y).statistic / (len(x) * len(y))
        assert np.mean(wins) == pytest.approx(u if mode == "max" else 1 - u)
        by_task.append(np.mean(wins))
    assert found.value == pytest.approx(np.mean(by_task))
    swapped = probability_of_improvement(theirs, ours, mode)
    assert swapped.value == pytest.approx(1 - found.value)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_band_is_students_interval_at_each_point() -> None:
    curves = np.random.default_rng(2).normal(size=(6, 3))
    centre, low, high = band(curves)
    for point in range(3):
        values = curves[:, point]
        expected = t.interval(0.95, 5, values.mean(), values.std(ddof=1) / np.sqrt(6))
        assert centre[point] == pytest.approx(values.mean())
        assert (low[point], high[point]) == pytest.approx(expected)
