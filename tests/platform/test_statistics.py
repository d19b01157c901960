"""Statistics against hand-computed cases, scipy, and their own promises."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu, norm, t, trim_mean, ttest_ind, ttest_rel

from tenfold.platform.statistics import (
    Estimate,
    band,
    difference_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
)

REPETITIONS = 1_000


def covered(
    interval: Callable[[np.ndarray], Estimate],
    draw: Callable[[np.random.Generator], np.ndarray],
    truth: float,
    repetitions: int = REPETITIONS,
) -> int:
    """How often an interval of fresh data holds the truth."""
    rng = np.random.default_rng(7)
    found = [interval(draw(rng)) for _ in range(repetitions)]
    return sum(e.low is not None and e.high is not None and e.low <= truth <= e.high for e in found)


def within_binomial_error(hits: int, share: float = 0.95, repetitions: int = REPETITIONS) -> bool:
    low, high = binom.interval(0.999, repetitions, share)
    return bool(low <= hits <= high)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_mean_of_few_seeds_is_covered_as_often_as_its_interval_says(seeds: int) -> None:
    assert within_binomial_error(covered(mean_interval, lambda rng: rng.normal(2, 3, seeds), 2.0))


@pytest.mark.parametrize(("seeds", "share"), [(3, 0.85), (5, 0.81), (10, 0.84)])
def test_skewed_data_are_covered_as_often_as_the_documentation_says(
    seeds: int, share: float
) -> None:
    hits = covered(mean_interval, lambda rng: rng.lognormal(0, 1, seeds), float(np.exp(0.5)))
    assert within_binomial_error(hits, share)


def test_means_over_tasks_of_different_spread_are_covered() -> None:
    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 1, (3, 3)) * np.array([[0.2], [1.0], [4.0]])

    # Satterthwaite's approximation errs to the safe side when one task has most of the variance.
    hits = covered(lambda scores: mean_interval(*scores), draw, 0.0)
    assert 0.94 * REPETITIONS <= hits <= 0.99 * REPETITIONS


@pytest.mark.parametrize("seeds", [3, 4, 5, 8, 10])
def test_an_interquartile_mean_is_covered_as_often_as_its_interval_says(seeds: int) -> None:
    assert within_binomial_error(covered(iqm_interval, lambda rng: rng.normal(0, 1, seeds), 0.0))


def test_an_interquartile_mean_withstands_what_spoils_a_mean() -> None:
    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.standard_t(2, 10)

    assert covered(iqm_interval, draw, 0.0) >= 0.94 * REPETITIONS
    scores = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e9])
    found = iqm_interval(scores)
    assert found.high is not None
    assert found.value == pytest.approx(4.5)
    assert found.high < 20


@pytest.mark.parametrize(("ours", "theirs"), [(3, 3), (5, 5), (3, 10)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_the_probability_of_improvement_is_covered(ours: int, theirs: int, shift: float) -> None:
    def draw(rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([rng.normal(shift, 1, ours), rng.normal(0, 1, theirs)])

    hits = covered(
        lambda both: probability_of_improvement([both[:ours]], [both[ours:]], "max"),
        draw,
        float(norm.cdf(shift / np.sqrt(2))),
        repetitions=300,
    )
    assert hits >= binom.ppf(0.001, 300, 0.95)


def test_three_wins_of_three_are_not_certainty() -> None:
    found = probability_of_improvement([[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]], "min")
    assert found.value == 1.0
    assert found.high == 1.0
    assert found.low is not None
    # The exact two-sided test has p = 0.1, so an interval of 95 % holds one half.
    assert mannwhitneyu([1, 2, 3], [4, 5, 6], method="exact").pvalue == pytest.approx(0.1)
    assert 0.1 < found.low < 0.5
    more = probability_of_improvement([np.arange(10.0)], [np.arange(10.0, 20.0)], "min")
    assert more.low is not None
    assert more.low > 0.7


@pytest.mark.parametrize("paired", [True, False])
def test_differences_are_covered(paired: bool) -> None:
    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 5, 4) + rng.normal([[1.0], [0.0]], 1, (2, 4))

    # Seeds that both share make an unpaired interval far too wide.
    hits = covered(lambda both: difference_interval((both[0], both[1]), paired=paired), draw, 1.0)
    assert within_binomial_error(hits) if paired else hits > 0.99 * REPETITIONS


def test_differences_are_scipys() -> None:
    rng = np.random.default_rng(3)
    ours, theirs, more = rng.normal(1, 1, 5), rng.normal(0, 2, 5), rng.normal(0, 2, 8)
    pairs = ttest_rel(ours, theirs).confidence_interval(0.95)
    found = difference_interval((ours, theirs), paired=True)
    assert (found.low, found.high) == pytest.approx(tuple(pairs))
    welch = ttest_ind(ours, more, equal_var=False).confidence_interval(0.95)
    found = difference_interval((ours, more), paired=False)
    assert (found.low, found.high) == pytest.approx(tuple(welch))
    assert found.value == pytest.approx(ours.mean() - more.mean())


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    scores = np.array([100.0, 1.0, 3.0, 2.0, 4.0, -50.0, 5.0, 6.0])
    assert iqm_interval(scores).value == pytest.approx(np.mean([2.0, 3.0, 4.0, 5.0]))
    assert iqm_interval(scores).value == trim_mean(scores, 0.25)
    assert iqm_interval(scores[:3]).value == pytest.approx(scores[:3].mean())


def test_each_task_counts_alike() -> None:
    assert mean_interval([1.0, 2.0, 3.0], [10.0, 20.0]).value == pytest.approx((2 + 15) / 2)
    # Two tasks without any spread but their own level leave no uncertainty.
    found = mean_interval([1.0, 1.0], [50.0, 50.0])
    assert (found.value, found.low, found.high) == (25.5, 25.5, 25.5)


def test_one_seed_has_no_interval_and_equal_seeds_have_a_point() -> None:
    for interval in (mean_interval, iqm_interval):
        assert interval([3.0]) == Estimate(3.0)
        assert interval([3.0, 3.0]) == Estimate(3.0, 3.0, 3.0)
        assert interval([3.0, 4.0], [1.0]).low is None
    assert difference_interval(([3.0], [1.0]), paired=True) == Estimate(2.0)
    assert difference_interval(([3.0], [1.0, 2.0]), paired=False) == Estimate(1.5)
    assert probability_of_improvement([[3.0]], [[1.0, 2.0]], "max") == Estimate(1.0)


def test_a_diverged_run_is_the_worst_and_leaves_no_mean() -> None:
    scores = [*range(1, 10), np.inf]
    assert mean_interval(scores) == Estimate(np.inf)
    # Two of ten are cut at each end: 3 to 8 stay, and the interval is that of a large outlier.
    trimmed = iqm_interval(scores)
    assert trimmed.value == pytest.approx(5.5)
    assert trimmed == iqm_interval([*range(1, 10), 1e6])
    assert iqm_interval([1.0, 2.0, np.inf]) == Estimate(np.inf)
    assert difference_interval((scores, list(range(10))), paired=True).low is None
    found = probability_of_improvement([[1.0, np.inf, 1.0]], [[2.0, np.inf, 2.0]], "min")
    # Of nine pairs four are won, two lost to a finite run, two won from a diverged one, one tied.
    assert found.value == pytest.approx((4 + 2 + 0.5) / 9)


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
    assert swapped.low == pytest.approx(1 - found.high)
    single = [probability_of_improvement([x], [y], mode) for x, y in zip(ours, theirs, strict=True)]
    # Two tasks know more than each of them.
    assert found.high - found.low < min(e.high - e.low for e in single if e.high and e.low)


def test_the_band_is_students_interval_at_each_point() -> None:
    curves = np.random.default_rng(2).normal(size=(6, 3))
    centre, low, high = band(curves)
    assert low is not None
    assert high is not None
    for point in range(3):
        values = curves[:, point]
        expected = t.interval(0.95, 5, values.mean(), values.std(ddof=1) / np.sqrt(6))
        assert centre[point] == pytest.approx(values.mean())
        assert (low[point], high[point]) == pytest.approx(expected)
        same = mean_interval(values)
        assert (same.low, same.high) == pytest.approx(expected)
    assert band(curves[:1])[1:] == (None, None)
