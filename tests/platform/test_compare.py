"""Comparisons say what the runs in the store say, no more and no less."""

import base64
import csv
import io
import json
import math
import re
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import invoke
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from rich.console import Console
from scipy.stats import t

from tenfold.platform.compare import collect, compare
from tenfold.platform.comparison import ALL_TASKS, Comparison
from tenfold.platform.errors import InputError
from tenfold.platform.figures import GREY, headed, save_figure, styles, written
from tenfold.platform.importance import importances
from tenfold.platform.registry import get_method
from tenfold.platform.report import (
    draw,
    draw_curves,
    draw_intervals,
    draw_parameter,
    print_comparison,
    tables,
)
from tenfold.platform.runs import Selection
from tenfold.platform.score import score_of
from tenfold.platform.statistics import mean_interval, probability_of_improvement
from tenfold.platform.tables import Table, latex, markdown, number, plus_minus, print_table


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; making its tables takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


class Store:
    """A store that tests fill with trials."""

    def __init__(self, folder: Path, template: Path) -> None:
        shutil.copy(template, folder / "mlflow.db")
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(tracking_uri=self.uri)
        self.out = folder / "out"
        self.artifacts = (folder / "artifacts").as_uri()
        self.clock = 1_000
        self.experiments: dict[str, str] = {}

    def trial(
        self,
        values: Sequence[float],
        experiment: str = "queues",
        status: str = "FINISHED",
        params: dict[str, Any] | None = None,
        metric: str = "backlog",
        mode: str = "min",
        steps: Sequence[int] | None = None,
        sweep: str = "queues-1",
        **tags: Any,
    ) -> str:
        if experiment not in self.experiments:
            made = self.client.create_experiment(experiment, self.artifacts)
            self.experiments[experiment] = made
        self.clock += 1
        defaults = {"method": "softmw", "variant": "softmw", "task": "switching", "seed": 0}
        own = {"kind": "trial", "experiment": experiment, "metric": metric, "mode": mode}
        own["run_dir"] = f"/somewhere/tune/{sweep}"
        all_tags = {**defaults, **own, "step_unit": "slots", "commit": "abc", **tags}
        run = self.client.create_run(
            self.experiments[experiment],
            self.clock,
            {key: str(value) for key, value in all_tags.items()},
        )
        points = steps or range(10, 10 * len(values) + 1, 10)
        metrics = [Metric(metric, v, self.clock, s) for v, s in zip(values, points, strict=True)]
        given = [Param(key, str(value)) for key, value in (params or {}).items()]
        self.client.log_batch(run.info.run_id, metrics=metrics, params=given)
        if status != "RUNNING":
            self.client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)

    def collect(self, *names: str, **options: Any) -> Comparison:
        chosen = {
            key: options.pop(key)
            for key in ("tasks", "variants", "where", "last")
            if key in options
        }
        selection = Selection(names or ("queues",), **chosen)
        return collect(self.client, selection, **options)

    def compare(self, *names: str, **options: Any) -> Comparison:
        selection = Selection(names or ("queues",))
        return compare(selection, tracking_uri=self.uri, out=self.out, **options)


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return Store(tmp_path, template)


def filled(store: Store) -> Store:
    for task, scale in (("switching", 1.0), ("bursty", 10.0)):
        for seed in range(4):
            store.trial([9, scale * (1 + seed)], task=task, variant="softmw", seed=seed)
            store.trial([9, scale * (6 + seed)], task=task, variant="uniform", seed=seed)
    return store


def row(comparison: Comparison, group: str, task: str = "switching") -> Any:
    (found,) = (r for r in comparison.rows if (r.task, r.group) == (task, group))
    return found


def printed(comparison: Comparison, width: int = 80) -> list[str]:
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=width))
    return file.getvalue().splitlines()


def noted(comparison: Comparison) -> str:
    return " ".join(comparison.notes)


# Tables and statistics


def test_each_task_has_its_own_rows_and_the_aggregate_is_scaled(store: Store) -> None:
    found = filled(store).collect(baseline="uniform")
    assert row(found, "softmw").mean.value == pytest.approx(2.5)
    assert row(found, "uniform", "bursty").mean.value == pytest.approx(75.0)
    assert row(found, "softmw").better.value == 1.0
    assert row(found, "uniform").better is None
    # On each task 2.5 to 7.5, whatever the scale.
    overall = row(found, "softmw", ALL_TASKS)
    assert overall.mean.value == pytest.approx(1 / 3)
    assert overall.seeds == 8
    assert row(found, "uniform", ALL_TASKS).mean.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("metric", "scores"),
    [("return", None), ("normalised_return", {"dom2": 0.5, "bc": -1.0})],
)
def test_means_of_both_signs_are_not_divided(
    store: Store, metric: str, scores: dict[str, float] | None
) -> None:
    """bc has -3 on one task and 1 on the other, dom2 -1 and 2."""
    for task, bc, dom2 in (("tag", -3.0, -1.0), ("spread", 1.0, 2.0)):
        for seed in range(2):
            for variant, value in (("bc", bc), ("dom2", dom2)):
                told = {"method": "dom2", "variant": variant, "task": task, "seed": seed}
                store.trial([value], metric=metric, mode="max", **told)
    found = store.collect(baseline="bc")
    if scores is None:
        assert ALL_TASKS not in found.tasks
        assert "means of one sign" in noted(found)
        return
    assert {r.group: r.mean.value for r in found.rows_of(ALL_TASKS)} == pytest.approx(scores)
    assert row(found, "dom2", ALL_TASKS).difference.value == pytest.approx(1.5)
    assert "scores as they are" in noted(found)


def test_intervals_are_students_on_the_page_and_in_the_curves(store: Store) -> None:
    values = [3.0, 5.0, 4.5]
    for seed, value in enumerate(values):
        store.trial([9.0, value], seed=seed)
    found = store.collect()
    low, high = t.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / math.sqrt(3))
    assert (row(found, "softmw").mean.low, row(found, "softmw").mean.high) == (
        pytest.approx(low),
        pytest.approx(high),
    )
    (curve,) = found.curves
    assert curve.low is not None
    assert curve.high is not None
    assert (curve.low[-1], curve.high[-1]) == (pytest.approx(low), pytest.approx(high))
    assert "Student's t" in noted(found)


def test_more_is_better_when_the_mode_says_so(store: Store) -> None:
    for seed in range(3):
        store.trial([seed], variant="a", seed=seed, mode="max")
        store.trial([10.0 + seed], variant="b", seed=seed, mode="max")
    found = store.collect(baseline="a")
    assert found.mode == "max"
    assert row(found, "b").better.value == 1.0
    assert row(found, "b").better.low < 0.5
    assert found.groups == ["b", "a"]


def test_one_seed_has_too_few_seeds_for_an_interval(store: Store) -> None:
    store.trial([5.0])
    found = store.collect()
    assert row(found, "softmw").mean.low is None
    assert row(found, "softmw").iqm.low is None
    lines = printed(found)
    assert any("too few seeds" in line for line in lines)
    (line,) = (line for line in lines if line.startswith("softmw"))
    assert line.split() == ["softmw", "1", "10", "5.000", "5.000"]
    store.trial([6.0], variant="uniform")
    (line,) = (x for x in printed(store.collect(baseline="uniform")) if x.startswith("softmw"))
    assert line.split()[-5:] == ["5.000", "-1.000", "too", "few", "seeds"]


def test_seeds_that_replay_one_record_have_no_interval(store: Store) -> None:
    filled(store)
    for variant, seed in product(("softmw", "uniform"), range(3)):
        run = store.trial([9, 10.0 + seed], task="trace", variant=variant, seed=seed)
        store.client.log_metric(run, "one_world", 1.0, step=20)
    found = store.compare(baseline="uniform")
    for each in found.rows:
        estimates = [each.mean, each.iqm, each.difference, each.better]
        bounded = {estimate.low is not None for estimate in estimates if estimate is not None}
        assert bounded == {each.task in ("switching", "bursty")}
    for curve in found.curves:
        assert (curve.low is None) == (curve.task == "trace")
    assert any("On trace every run replays the same record" in note for note in found.notes)
    assert not any("too few seeds" in note for note in found.notes)


def test_unequal_seeds_agree_with_the_statistics_by_hand(store: Store) -> None:
    ours, theirs = [3.0, 5.0, 4.0], [4.0, 6.0, 5.0, 1.0, 7.0]
    for variant, values in (("ours", ours), ("theirs", theirs)):
        for seed, value in enumerate(values):
            store.trial([value], variant=variant, seed=seed)
    found = store.collect(baseline="theirs")
    assert [(r.group, r.seeds) for r in found.rows] == [("ours", 3), ("theirs", 5)]
    wins = [0.5 if x == y else float(x < y) for x in ours for y in theirs]
    better = row(found, "ours").better
    assert better.value == pytest.approx(np.mean(wins))
    assert better == probability_of_improvement([ours], [theirs], "min")
    assert row(found, "theirs").median == 5.0
    # Trimming a quarter of five values drops one at each end.
    assert row(found, "theirs").iqm.value == pytest.approx(5.0)
    assert row(found, "ours").difference.value == pytest.approx(4.0 - 4.6)
    assert not row(found, "ours").paired
    assert "(Welch): ours" in noted(found)


def test_differences_are_paired_by_seed_in_whatever_order_they_ran(store: Store) -> None:
    # Seeds lie far apart, variants always by one and a little.
    levels = {0: 10.0, 1: 50.0, 2: 90.0}
    for seed, level in levels.items():
        store.trial([level], variant="base", seed=seed)
    for seed, level in reversed(levels.items()):
        store.trial([level - 1 - 0.01 * seed], variant="ours", seed=seed)
    found = row(store.collect(baseline="base"), "ours")
    assert found.paired
    assert found.difference.value == pytest.approx(-1.01)
    expected = mean_interval([-1.0, -1.01, -1.02])
    assert found.difference.low == pytest.approx(expected.low)
    assert found.difference.high < 0
    assert found.mean.high - found.mean.low > 100


def test_a_group_that_misses_a_task_is_left_out_of_the_aggregate(store: Store) -> None:
    filled(store)
    for seed in range(2):
        store.trial([3.0], variant="oracle", seed=seed)
    found = store.collect(baseline="uniform")
    assert {r.group for r in found.rows_of(ALL_TASKS)} == {"softmw", "uniform"}
    assert np.isfinite(row(found, "oracle").median)
    store.trial([0.0], task="third", variant="softmw")
    without = store.collect(baseline="softmw")
    assert ALL_TASKS not in without.tasks
    assert "No table over all tasks" in noted(without)


def test_groups_without_numbers_are_ordered_best_first_by_their_ranks(store: Store) -> None:
    # Ranks b: 2, 2; c: 1, 1; a: 3, 3. The numbers' sizes must not matter.
    levels = {"one": {"a": 9.0, "b": 5.0, "c": 1.0}, "two": {"a": 1e6, "b": 20.0, "c": 10.0}}
    for task, values in levels.items():
        for variant, value in values.items():
            store.trial([0.0, value], task=task, variant=variant)
            store.trial([0.0, value], task=task, variant=variant, metric="gain", mode="max", seed=1)
    less = store.collect(metric="backlog")
    assert [r.group for r in less.rows] == ["c", "b", "a"] * 2
    assert [c.group for c in less.curves] == ["c", "b", "a"] * 2
    more = store.collect(metric="gain")
    assert [r.group for r in more.rows] == ["a", "b", "c"] * 2


def test_a_mean_rank_counts_every_task_alike(store: Store) -> None:
    # a wins one task by far, b wins the two others narrowly.
    for task, a, b in (("one", 1.0, 1e6), ("two", 3.0, 2.0), ("three", 3.0, 2.0)):
        store.trial([a], task=task, variant="a")
        store.trial([b], task=task, variant="b")
    assert [r.group for r in store.collect(tasks=["one", "two", "three"]).rows] == ["b", "a"] * 3


# Divergence, failures, what is absent


def test_a_diverged_run_is_never_scored_by_its_last_finite_value(store: Store) -> None:
    for seed in range(10):
        store.trial([5.0, 4.8 + 0.01 * seed], variant="sparse", seed=seed)
        if seed < 8:
            store.trial([5.0, 4.1 + 0.01 * seed], variant="dense", seed=seed)
    store.trial([5.0, 4.0], variant="dense", seed=8, diverged=25)
    store.trial([5.0, 4.0, math.nan], variant="dense", seed=9)
    found = store.collect(baseline="sparse")
    dense = row(found, "dense")
    assert (dense.seeds, dense.diverged) == (10, 2)
    assert dense.mean.value == math.inf
    assert dense.mean.low is None
    # The two worst of ten are trimmed, so the interquartile mean is that of the six in the middle.
    assert dense.iqm.value == pytest.approx(np.mean([4.1 + 0.01 * k for k in range(2, 8)]))
    assert dense.median == pytest.approx(4.1 + 0.01 * 4.5)
    assert dense.better.value == pytest.approx(0.8)
    assert dense.difference.low is None
    assert found.groups == ["sparse", "dense"]
    assert "2 of 10 runs of dense diverged" in noted(found)
    (line,) = (line for line in printed(found) if line.startswith("dense"))
    assert line.split()[:6] == ["dense", "10", "(2", "diverged)", "20", "diverged"]
    (curve,) = (c for c in found.curves if c.group == "dense")
    assert (curve.seeds, curve.diverged) == (8, 2)
    assert curve.mean[-1] == pytest.approx(np.mean([4.1 + 0.01 * k for k in range(8)]))
    data = json.loads(found.to_json())
    assert next(r for r in data["rows"] if r["group"] == "dense")["mean"]["value"] is None
    assert [run["score"] for run in data["runs"]].count(None) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_whatever_is_not_finite_ranks_last(store: Store, value: float, mode: str) -> None:
    for seed in range(3):
        store.trial([1.0, value if seed == 0 else 2.0], variant="a", seed=seed, mode=mode)
        store.trial([1.0, 2.5], variant="b", seed=seed, mode=mode)
        store.trial([1.0, 1.5], variant="c", seed=seed, mode=mode)
    found = store.collect(baseline="b")
    assert found.groups[-1] == "a"
    assert row(found, "a").diverged == 1
    # Against b: one run lost, two won when less is better, lost when more is.
    assert row(found, "a").better.value == pytest.approx(2 / 3 if mode == "min" else 0.0)


def test_a_metric_that_became_finite_again_has_not_diverged(store: Store) -> None:
    store.trial([math.nan, 4.0, 3.0], diverged="")
    assert row(store.collect(), "softmw").mean.value == 3.0


def test_a_run_that_diverged_and_failed_counts_as_diverged(store: Store) -> None:
    store.trial([4.0], seed=0)
    store.trial([4.0], seed=1, status="FAILED", diverged=11)
    store.trial([], seed=2, status="FAILED", diverged=1)
    found = store.collect()
    assert (row(found, "softmw").seeds, row(found, "softmw").diverged) == (3, 2)


def test_a_diverged_baseline_leaves_no_differences_and_no_aggregate(store: Store) -> None:
    filled(store)
    store.trial([1.0], variant="uniform", seed=5, diverged=3)
    found = store.collect(baseline="uniform")
    assert row(found, "softmw").difference.low is None
    assert row(found, "softmw").better.value == 1.0
    assert ALL_TASKS not in found.tasks


def test_what_does_not_count_is_told(store: Store) -> None:
    store.trial([5.0], seed=0)
    store.trial([7.0], seed=0)
    store.trial([9.0], seed=1)
    store.trial([1.0], seed=2, status="FAILED", variant="uniform")
    store.trial([1.0], seed=3, status="RUNNING")
    store.trial([1.0], seed=4, status="KILLED")
    store.trial([], seed=5)
    found = store.collect()
    assert row(found, "softmw").mean.value == pytest.approx(8.0)
    assert row(found, "softmw").seeds == 2
    assert "1 failed (uniform), 1 killed (softmw), 1 unfinished (softmw)" in noted(found)
    assert "1 finished trials without backlog" in noted(found)
    assert "1 older trials" in noted(found)


def test_unknown_experiments_and_unfinished_ones_are_refused(store: Store) -> None:
    store.trial([1.0], status="RUNNING")
    with pytest.raises(InputError, match="did you mean 'queues'"):
        store.collect("queue")
    with pytest.raises(InputError, match="No trial of queues has finished"):
        store.collect()
    store.trial([], experiment="empty")
    with pytest.raises(InputError, match="'backlog'"):
        store.collect("empty")


# Common steps


def halved(store: Store) -> Store:
    """What a scheduler leaves: a cumulative cost, the bad half stopped early."""
    for seed in range(4):
        for c, slope, last in ((1, 10.0, 5), (2, 14.0, 1)):
            steps = [20_000 * k for k in range(1, last + 1)]
            values = [slope * k + seed for k in range(1, last + 1)]
            store.trial(values, steps=steps, params={"c": c}, seed=seed)
    return store


def test_runs_that_were_stopped_early_are_compared_at_a_common_step(store: Store) -> None:
    found = halved(store).collect(by=["c"], baseline="1")
    # At their ends the stopped ones are at 14 and the better ones at 50.
    assert row(found, "1").mean.value == pytest.approx(11.5)
    assert row(found, "2").mean.value == pytest.approx(15.5)
    assert row(found, "2").better.value < 0.1
    assert row(found, "1").steps == row(found, "2").steps == (20_000, 20_000)
    assert "4 of 8 went on, up to 100,000" in noted(found)
    curves = {curve.group: curve.steps[-1] for curve in found.curves}
    assert curves == {"1": 100_000}


def test_completed_runs_only_or_each_at_its_end_by_a_word(store: Store) -> None:
    halved(store)
    store.trial([10.0, 60.0], steps=[20_000, 98_000], params={"c": 3})
    completed = store.collect(by=["c"], at="completed")
    assert completed.groups == ["1", "3"]
    # 98,000 is as good as 100,000, and all are scored there.
    assert row(completed, "3").steps == (98_000, 98_000)
    assert row(completed, "1").steps == (80_000, 80_000)
    assert "4 of 9 runs" in noted(completed)
    ends = store.collect(by=["c"], at="end")
    assert row(ends, "2").steps == (20_000, 20_000)
    assert row(ends, "1").mean.value == pytest.approx(51.5)
    assert "20,000 to 100,000 slots" in noted(ends)
    with pytest.raises(InputError, match="'common'"):
        store.collect(at="comon")


def test_a_diverged_run_does_not_set_the_common_step(store: Store) -> None:
    store.trial([1.0, math.nan], steps=[10, 20], seed=0)
    for seed in (1, 2):
        store.trial([1.0, 2.0, 3.0], steps=[10, 500, 1000], seed=seed)
    found = store.collect()
    assert row(found, "softmw").steps == (1000, 1000)
    assert "went on" not in noted(found)


def test_steps_of_different_units_are_not_measured_by_each_other(store: Store) -> None:
    store.trial([1.0, 2.0], steps=[10, 100_000])
    store.trial([5.0, 6.0], steps=[1, 50], step_unit="env steps", method="ppo", variant="ppo")
    found = store.collect(by=["method"])
    assert row(found, "softmw").steps == (100_000, 100_000)
    assert row(found, "ppo").steps == (50, 50)


def test_curves_are_means_on_common_steps(store: Store) -> None:
    store.trial([0.0, 10.0], seed=0, steps=[0, 100])
    store.trial([4.0, 6.0, 8.0], seed=1, steps=[0, 50, 150])
    (curve,) = store.collect().curves
    assert curve.steps == [0, 50, 100]
    assert curve.mean == pytest.approx([2.0, 5.5, 8.5])
    assert curve.seeds == 2


def test_curves_that_share_no_steps_are_left_out(store: Store) -> None:
    store.trial([1.0, 2.0], seed=0, steps=[0, 100])
    store.trial([3.0, 4.0], seed=1, steps=[200, 300])
    found = store.collect(at="end")
    assert found.curves == []
    assert row(found, "softmw").mean.value == 3.0
    common = store.collect()
    assert row(common, "softmw").seeds == 1
    assert "Left out: 1 runs whose first backlog is after the common step" in noted(common)


def test_curves_against_another_metric_and_judged_the_other_way(store: Store) -> None:
    for seed, speed in enumerate((10.0, 20.0)):
        run = store.trial([4.0, 3.0, 1.0], seed=seed)
        cost = [Metric("flops", speed * step, 1, step) for step in (10, 20, 30)]
        store.client.log_batch(run, metrics=cost)
    found = store.collect(against="flops", mode="max")
    assert (found.mode, found.step_unit, found.axis) == ("max", "slots", "flops")
    (curve,) = found.curves
    # Seed 0 is at 3 and 1 after 200 and 300, seed 1 at 4 and 3.5 there.
    assert curve.steps == [200, 300]
    assert curve.mean == pytest.approx([3.5, 2.25])
    with pytest.raises(InputError, match="metric of these runs 'flop'"):
        store.collect(against="flop")
    with pytest.raises(InputError, match="'mode'"):
        store.collect(mode="less")


# How a run is scored


def test_a_noisy_method_is_scored_by_the_mean_over_its_last_tenth(store: Store) -> None:
    steps = range(100, 2_001, 100)
    values = [0.0] * 18 + [2.0, 6.0]
    options = {"metric": "gain_mbb", "mode": "max", "steps": steps, "variant": "rl_cfr"}
    run = store.trial(values, method="rl_cfr", **options)
    more = [Metric("nodes", value, 1, step) for value, step in zip(values, steps, strict=True)]
    store.client.log_batch(run, metrics=more)
    found = store.collect()
    # Steps 1,900 and 2,000 are after 1,800.
    assert row(found, "rl_cfr").mean.value == pytest.approx(4.0)
    assert "mean over the last tenth" in noted(found)
    assert row(store.collect(metric="nodes"), "rl_cfr").mean.value == 6.0


def test_the_score_is_declared_by_the_method() -> None:
    noisy, plain, best = get_method("rl_cfr"), get_method("softmw"), get_method("ppo")
    history = [(10.0 * k, float(k % 7)) for k in range(1, 101)]
    assert score_of(history, plain) == 100 % 7
    assert score_of(history, noisy) == pytest.approx(np.mean([k % 7 for k in range(91, 101)]))
    assert score_of(history[:1], noisy) == 1.0
    assert score_of(history, noisy, "nodes") == 100 % 7
    assert score_of(history, None) == 100 % 7
    best = type(best)(**{**vars(best), "score": "best_evaluation"})
    assert score_of(history, best) == 6.0
    least = type(best)(**{**vars(plain), "score": "best_evaluation"})
    assert score_of([(0, math.nan), *history], least) == 0.0
    for method in (noisy, plain, best, None):
        assert math.isnan(score_of([*history, (1001.0, math.inf)], method))
        assert math.isnan(score_of([], method))


def returns(store: Store) -> None:
    """Returns at steps 10 to 40: early gets to 10 sooner than late, never does not in one seed."""
    for variant, runs in {
        "early": [[0.0, 10.0, 12.0, 10.0], [0.0, 4.0, 10.0, 10.0]],
        "late": [[0.0, 0.0, 0.0, 10.0], [2.0, 4.0, 6.0, 11.0]],
        "never": [[0.0, 10.0, 10.0, 9.0], [1.0, 2.0, 3.0, 9.5]],
    }.items():
        for seed, values in enumerate(runs):
            store.trial(values, variant=variant, seed=seed, metric="return", mode="max")


def test_the_area_is_the_mean_over_the_steps(store: Store) -> None:
    returns(store)
    found = store.collect(baseline="late", score="area")
    by_scipy = [np.trapezoid(values, dx=10) / 30 for values in ([0, 10, 12, 10], [0, 4, 10, 10])]
    assert row(found, "early").mean.value == pytest.approx(np.mean(by_scipy))
    assert found.groups == ["early", "never", "late"]
    assert row(found, "early").better.value == 1.0
    assert any("mean of that over its steps" in note for note in found.notes)


def test_a_level_scores_the_steps_until_it_is_reached(store: Store) -> None:
    returns(store)
    found = store.collect(baseline="late", score="reach=10")
    means = {group: row(found, group).mean.value for group in found.groups}
    assert means == {"early": 25.0, "never": 30.0, "late": 40.0}
    assert list(means) == ["early", "never", "late"]
    assert row(found, "early").better.value == 1.0
    assert row(found, "early").difference.value == -15.0
    assert "too small: 1 of never." in " ".join(found.notes)
    # The curves are still the metric's, and more of it is better.
    assert (found.mode, found.score_mode) == ("max", "min")
    less = store.collect(metric="return", mode="min", score="reach=0")
    assert row(less, "early").mean.value == 10.0
    assert row(less, "late").mean.value == 25.0  # 10, and 40 for what began at 2


def test_a_run_that_diverged_never_reaches_anything(store: Store) -> None:
    returns(store)
    store.trial([10.0, math.nan], variant="broken", metric="return", mode="max", diverged="20")
    for score in ("area", "reach=5"):
        found = row(store.collect(score=score), "broken")
        assert (found.diverged, math.isinf(found.mean.value)) == (1, True)


@pytest.mark.parametrize("score", ["final", "reach", "reach=", "reach=soon", "area=3", "reach=nan"])
def test_an_unknown_rule_is_one_sentence(store: Store, score: str) -> None:
    returns(store)
    with pytest.raises(
        InputError, match=f"Bad value '{score}' for --score: give own .*reach=VALUE"
    ):
        store.collect(score=score)


def test_figures_name_what_is_scored(store: Store) -> None:
    returns(store)
    for score, said in (
        ("area", "Return over all steps"),
        ("reach=10", "Steps until return is 10"),
    ):
        figure = draw_intervals(store.collect(score=score))
        assert figure.axes[0].get_xlabel() == said


# Which runs


def test_runs_that_differ_in_parameters_are_not_pooled(store: Store) -> None:
    for sweep, horizon in (("queues-1", 1_000), ("queues-2", 200_000)):
        for seed in range(2):
            store.trial([float(horizon)], params={"horizon": horizon}, seed=seed, sweep=sweep)
    with pytest.raises(InputError) as refusal:
        store.collect()
    sentence = str(refusal.value)
    assert "differ in horizon (1000, 200000)" in sentence
    for way in ("--where horizon=200000", "--last", "--by variant --by horizon", "--mix"):
        assert way in sentence
    assert row(store.collect(last=True), "softmw").mean.value == 200_000
    assert row(store.collect(where=["horizon=1e3"]), "softmw").mean.value == 1_000
    assert row(store.collect("queues-1"), "softmw").mean.value == 1_000
    assert store.collect(by=["horizon"]).groups == ["1000", "200000"]
    assert store.collect(by=["run"]).groups == ["queues-1", "queues-2"]
    mixed = store.collect(mix=True)
    assert row(mixed, "softmw").seeds == 4
    assert "differ in horizon; intervals" in noted(mixed)


def test_of_many_parameters_that_differ_the_first_are_named(store: Store) -> None:
    for seed in range(2):
        store.trial([1.0], seed=seed, params={f"key_{n:02}": seed for n in range(20)})
    named = ", ".join(f"key_{n:02}" for n in range(8))
    with pytest.raises(InputError, match=r"differ in key_00 .* key_08 and 11 more: add "):
        store.collect(by=["variant"])
    assert f"differ in {named} and 12 more; intervals" in noted(
        store.collect(by=["variant"], mix=True)
    )


def test_groups_of_different_sweeps_may_differ_only_in_what_their_variants_set(
    store: Store,
) -> None:
    own = dict(get_method("softmw").variants["uniform"])
    store.trial([1.0], sweep="queues-1", params={"horizon": 500})
    store.trial([2.0], sweep="queues-2", variant="uniform", params={"horizon": 500, **own})
    assert set(store.collect().groups) == {"softmw", "uniform"}
    store.trial([3.0], sweep="queues-3", variant="uniform", params={"horizon": 9, **own}, seed=1)
    with pytest.raises(InputError, match=r"differ in horizon \(9, 500\)"):
        store.collect()
    assert store.collect("queues-1", "queues-2").groups == ["softmw", "uniform"]
    with pytest.raises(InputError, match="differ in horizon"):
        store.collect("queues-1", "queues-3")


def test_variants_are_not_pooled_by_another_key(store: Store) -> None:
    filled(store)
    with pytest.raises(InputError, match="--variant"):
        store.collect(by=["method"])
    assert store.collect(by=["method"], variants=["uniform"]).groups == ["softmw"]
    both = store.collect(by=["method", "variant"])
    assert both.groups == ["softmw, softmw", "softmw, uniform"]


def test_equal_trials_of_two_experiments_count_once(store: Store) -> None:
    store.trial([5.0], experiment="queues", sweep="a-1")
    store.trial([7.0], experiment="again", sweep="b-1")
    found = store.collect("softmw")
    assert (row(found, "softmw").seeds, row(found, "softmw").mean.value) == (1, 7.0)
    assert store.collect("softmw", by=["experiment"]).groups == ["queues", "again"]


def test_a_run_is_named_by_its_folder_or_an_id(store: Store) -> None:
    first = store.trial([1.0], sweep="queues-20250101-120000", **{"mlflow.parentRunId": "fe" * 16})
    store.trial([2.0], sweep="queues-20250102-120000", **{"mlflow.parentRunId": "ab" * 16})
    for name in ("queues-20250101-120000", "fe" * 16, "fefefefe", first, first[:8]):
        assert row(store.collect(name), "softmw").mean.value == 1.0
    with pytest.raises(InputError, match="did you mean 'queues-20250101-120000'"):
        store.collect("queues-20250101-12000")


def test_conditions_compare_numbers_as_numbers(store: Store) -> None:
    for lr, flag in ((0.001, True), (0.01, False)):
        store.trial([lr], params={"lr": lr, "flag": flag, "sizes": [8, 8]})
    store.trial([5.0])
    assert row(store.collect(where=["lr=1e-3"]), "softmw").mean.value == 0.001
    assert row(store.collect(where=["flag=false", "seed=0"]), "softmw").mean.value == 0.01
    assert store.collect(where=["sizes=[8,8]"], by=["lr"]).groups == ["0.001", "0.01"]
    assert row(store.collect(where=["lr=(default)"]), "softmw").mean.value == 5.0
    for condition, part in (
        ("lr=7", "there are 0.001, 0.01, (default)"),
        ("lrr=7", "did you mean 'lr'"),
        ("lr", "write key=value"),
    ):
        with pytest.raises(InputError, match=re.escape(part)):
            store.collect(where=[condition])


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"by": ["varient"]}, ["'varient'", "'variant'"]),
        ({"metric": "backlogg"}, ["'backlogg'", "'backlog'"]),
        ({"baseline": "unifrm"}, ["'unifrm'", "'uniform'"]),
        ({"tasks": ["burst"]}, ["'burst'", "'bursty'"]),
        ({"variants": ["unifrm"]}, ["'unifrm'", "'uniform'"]),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    store: Store, options: dict[str, Any], parts: list[str]
) -> None:
    for task in ("switching", "bursty"):
        for variant in ("softmw", "uniform"):
            store.trial([1.0], task=task, variant=variant)
    with pytest.raises(InputError) as refusal:
        store.collect(**options)
    for part in parts:
        assert part in str(refusal.value)


def test_methods_of_different_metrics_need_a_metric(store: Store) -> None:
    store.trial([1.0], method="softmw")
    store.trial([1.0], method="ppo", metric="return", mode="max")
    with pytest.raises(InputError, match="--metric"):
        store.collect("softmw", "ppo", by=["method"])


# Sweeps


def swept(store: Store, points: int = 24) -> Store:
    """The score follows lr and hardly anything else."""
    rng = np.random.default_rng(0)
    for _ in range(points):
        lr = float(10 ** rng.uniform(-5, -1))
        heads = int(rng.choice([2, 4, 8]))
        score = (math.log10(lr) + 3) ** 2 + 0.01 * heads
        store.trial([9.0, score], params={"lr": lr, "heads": heads}, seed=0)
        store.trial([9.0, score + 0.1], params={"lr": lr, "heads": heads}, seed=1)
    return store


def test_the_points_of_a_sweep_are_groups_the_best_first(store: Store) -> None:
    found = swept(store, 6).collect()
    assert set(found.by) == {"lr", "heads"}
    assert len(found.rows) == 6
    assert all(r.seeds == 2 for r in found.rows)
    means = [r.mean.value for r in found.rows]
    assert means == sorted(means)
    assert all(len(label) < 30 for label in found.groups)


def test_a_swept_number_is_compared_by_ranges_and_drawn_as_a_curve(store: Store) -> None:
    found = swept(store).collect(by=["lr"])
    assert found.groups == sorted(found.groups, key=lambda g: float(g.split(" to ")[0]))
    assert len(found.groups) == 8
    assert sum(r.seeds for r in found.rows) == 48
    assert all(re.fullmatch(r"[\d.e-]{1,9} to [\d.e-]{1,9}", group) for group in found.groups)
    assert "differ in heads" in noted(found)
    # The best learning rate is about 1e-3, in the middle.
    best = min(found.rows, key=lambda r: r.mean.value)
    assert 1e-4 < found.places[best.group] < 1e-2
    axes = draw_parameter(found).axes[0]
    points, curve = axes.lines
    assert len(points.get_xdata()) == 48
    assert list(curve.get_ydata()) == pytest.approx([r.mean.value for r in found.rows])
    assert list(curve.get_xdata()) == sorted(curve.get_xdata())
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "Learning rate")
    assert len(axes.collections) == 1


def test_what_a_sweep_varied_together_is_told(store: Store) -> None:
    for place in range(3):
        for seed in range(2):
            params = {"lr": 0.1 * place, "heads": 2**place}
            store.trial([1.0 + place + seed], params=params, seed=seed)
    store.trial([1.0])
    found = store.collect(by=["lr"], where=["lr=0.1", "heads=2"])
    assert "differ in" not in noted(found)
    assert "differ in heads" in noted(store.collect(by=["lr"]))
    points = store.collect()
    assert set(points.groups) == {
        "lr=0.0, heads=1",
        "lr=0.1, heads=2",
        "lr=0.2, heads=4",
        "(default)",
    }


def test_few_values_group_in_the_order_of_their_numbers(store: Store) -> None:
    for c in ("10.0", "0.5", "2.0", "0.12345678901234567"):
        for seed in range(2):
            store.trial([float(c)], params={"c": c}, seed=seed)
    store.trial([1.0])
    found = store.collect(by=["c"])
    assert found.groups == ["0.123", "0.5", "2.0", "10.0", "(default)"]
    assert [r.mean.value for r in found.rows[1:4]] == [0.5, 2.0, 10.0]


def test_digits_that_tell_values_apart_stay(store: Store) -> None:
    for c in ("0.10000001", "0.10000002"):
        store.trial([1.0], params={"c": c})
    assert store.collect(by=["c"]).groups == ["0.10000001", "0.10000002"]


def test_the_parameter_that_matters_is_found_important(store: Store) -> None:
    found = swept(store).collect()
    assert next(iter(found.importances)) == "lr"
    assert found.importances["lr"] > 0.8
    assert sum(found.importances.values()) == pytest.approx(1.0)
    figures = draw(found)
    assert {"history", "parallel", "importance"} <= set(figures)
    best = figures["history"].axes[0].lines[1].get_ydata()
    assert np.all(np.diff(best) <= 0)
    assert best[-1] == pytest.approx(min(r.score for r in found.runs if r.score is not None))
    lines = figures["parallel"].axes[0].lines
    assert sum(len(line.get_ydata()) == 3 for line in lines) == 48
    assert all(0 <= min(line.get_ydata()) <= max(line.get_ydata()) <= 1 for line in lines)


def test_too_few_points_have_no_importance() -> None:
    points = [{"a": float(k), "b": float(k % 2), "c": 1.0} for k in range(8)]
    scores = [point["a"] for point in points]
    assert set(importances(points, scores)) == {"a", "b"}
    assert importances(points[:7], scores[:7]) == {}
    assert importances(points, [1.0] * 8) == {}
    assert importances([], []) == {}


# Files, figures and the terminal


def test_files_agree_with_the_comparison_and_are_in_mlflow(store: Store) -> None:
    filled(store).trial([0.0, math.inf], variant="uniform", seed=4)
    found = store.compare(baseline="softmw")
    data = json.loads(found.to_json())
    rows = list(csv.DictReader((store.out / "comparison.csv").open()))
    assert len(rows) == len(data["rows"]) == len(found.rows) == 6
    for line, entry in zip(rows, data["rows"], strict=True):
        assert (line["task"], line["group"]) == (entry["task"], entry["group"])
        if entry["diverged"]:
            assert (line["mean"], line["mean_low"], line["diverged"]) == ("", "", "1")
            continue
        assert float(line["mean"]) == pytest.approx(entry["mean"]["value"])
        assert float(line["mean_low"]) == pytest.approx(entry["mean"]["low"])
    assert found.mlflow_run is not None
    run = store.client.get_run(found.mlflow_run)
    assert run.data.tags["kind"] == "comparison"
    apart = store.client.get_experiment_by_name("comparisons")
    assert apart is not None
    assert run.info.experiment_id == apart.experiment_id
    assert run.data.tags["experiments"] == "queues"
    logged = {item.path for item in store.client.list_artifacts(found.mlflow_run)}
    assert {"comparison.csv", "report.html", "curves.png", "intervals.png"} <= logged
    again = json.loads(store.compare(baseline="softmw").to_json())
    assert again.pop("mlflow_run") != data.pop("mlflow_run")
    assert again == data


def test_a_comparison_of_several_experiments_is_kept_apart(store: Store) -> None:
    store.trial([1.0], experiment="one", variant="a")
    store.trial([2.0], experiment="two", variant="b")
    found = store.compare("one", "two", figure_format="svg")
    assert found.mlflow_run is not None
    kept = store.client.get_experiment_by_name("comparisons")
    assert store.client.get_run(found.mlflow_run).info.experiment_id == kept.experiment_id
    assert (store.out / "intervals.svg").read_text().startswith("<?xml")
    with pytest.raises(InputError, match="'png'"):
        store.compare("one", figure_format="pgn")


def test_the_report_stands_alone_and_escapes_what_it_shows(store: Store) -> None:
    for seed in range(2):
        store.trial([1.0, 2.0 + seed], variant="<script>alert(1)</script>$\\no$", seed=seed)
    store.trial([1.0, math.nan], variant="<script>alert(1)</script>$\\no$", seed=2)
    store.compare()
    html = (store.out / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "1 of 3 runs" in html
    assert "http://" not in html
    assert "https://" not in html
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert html.count("<img") == len(images) == 2
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)


def test_no_name_is_broken_at_80_columns(store: Store) -> None:
    names = ["maxweight_with_empirical_rates", "uniform", "[red]a|b"]
    for seed in range(3):
        for place, name in enumerate(names):
            store.trial([1e5 * (place + 1) + 777 * seed], variant=name, seed=seed)
    lines = printed(store.collect(baseline="uniform"), width=80)
    table = lines[: lines.index("")]
    assert all(len(line) <= 80 for line in table)
    for name in names:
        assert sum(line.startswith(name) for line in table) == 1
    (marked,) = (line for line in table if "baseline" in line)
    assert marked.split()[-2:] == ["baseline", "-"]
    wide = printed(store.collect(baseline="uniform"), width=200)
    assert wide[1].split()[:4] == ["variant", "runs", "steps", "mean"]
    (line,) = (line for line in wide if line.startswith("uniform"))
    assert line.split()[:6] == ["uniform", "3", "10", "200,800", "±", "1,900"]


def test_a_long_table_keeps_its_best_rows_and_the_baseline(store: Store) -> None:
    for place in range(40):
        store.trial([1.0, 1.0 + place], variant=f"v{place:02}")
    found = store.collect(baseline="v39")
    lines = printed(found)
    assert sum(line.startswith("v") for line in lines) - 1 == 31
    assert any("9 more rows" in line for line in lines)
    assert len(draw_intervals(found).axes[0].get_yticks()) == 31


def test_more_than_eight_curves_are_told_apart(store: Store) -> None:
    for place in range(12):
        store.trial([1.0, 1.0 + place], variant=f"v_{place:02}")
    found = store.collect(baseline="v_11")
    figure = draw_curves(found)
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert colours.count(GREY) == 4
    assert len(set(colours)) == 9
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"v {place:02}" for place in (*range(7), 11)] + ["4 others"]
    ordered = styles([str(value) for value in range(12)], True, None)
    assert len(set(ordered.values())) == 12


def test_axes_say_what_people_write(store: Store) -> None:
    options = {"metric": "env_runners/episode_return_mean", "step_unit": "env steps"}
    store.trial([1.0, 2.0], **options)
    figure = draw_curves(store.collect())
    assert figure.axes[0].get_xlabel() == "Environment steps"
    assert figure.axes[0].get_ylabel() == "Mean episode return"
    for name, text in (
        ("backlog_mean", "mean backlog"),
        ("gain_mbb", "gain (mbb)"),
        ("model_bytes", "model (bytes)"),
        ("learners/default_policy/entropic_risk", "entropic risk"),
        ("flops_blocks", "FLOPs blocks"),
        ("constants.c_eta", "c eta"),
        ("mean", "mean"),
    ):
        assert written(name) == text
    assert headed("flops") == "FLOPs"


@pytest.mark.parametrize(("ending", "begin"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_for_papers(store: Store, tmp_path: Path, ending: str, begin: bytes) -> None:
    store.trial([1.0, 2.0], variant="max_weight")
    data = save_figure(draw_curves(store.collect()), tmp_path / f"a/curves.{ending}").read_bytes()
    assert data.startswith(begin)
    if ending == "svg":  # a text, not its outlines
        assert b">max weight<" in data


def test_tables_for_papers(store: Store) -> None:
    for seed in range(3):
        store.trial([1.0 + seed], variant="a_b|c", seed=seed)
        store.trial([3.0 + seed], variant="50%", seed=seed)
    (table,) = tables(store.collect(baseline="50%"))
    lines = markdown(table).splitlines()
    assert lines[2].count("|") == lines[3].count("|") == 8
    assert r"| a_b\|c | 3 | 10 | 2.00 ± 2.5 | 2.000 | -2.000 ± 0 | 0.94 [0.30, 1.00] |" in lines
    text = latex(table)
    assert r"a\_b|c & 3 & 10 & 2.00 $\pm$ 2.5" in text
    assert r"50\% & 3" in text
    assert r"\toprule" in text


def test_a_narrow_terminal_gives_each_row_two_lines() -> None:
    file = io.StringIO()
    table = Table("title", ["a", "b"], [["a long name that stays", "1.0"]])
    print_table(Console(file=file, width=20), table)
    lines = file.getvalue().splitlines()
    assert lines[3:5] == ["a long name that stays", "  1.0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234567.0, "1,235,000"),
        (12.3456, "12.35"),
        (0.00012, "1.200e-04"),
        (-3, "-3.000"),
        (999.96, "1,000"),
        (0.99996, "1.000"),
        (math.inf, "diverged"),
    ],
)
def test_numbers_have_four_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ([131.0, 132.0, 133.0], "132.0 ± 2.5"),
        ([18_000.0, 18_900.0, 19_100.0], "18,700 ± 1,500"),
        ([-3.0, 4.0], "0.500 ± 44"),
        ([2e-5, 1e-5, 1.5e-5], "(1.50 ± 1.2)e-05"),
        ([3.0], "3.000"),
        ([3.0, 3.0], "3.000 ± 0"),
        ([0.99] * 3, "0.9900 ± 0"),  # whose mean is not 0.99 to the last bit
        ([3.0, math.inf], "diverged"),
    ],
)
def test_an_interval_says_how_many_digits_count(scores: list[float], text: str) -> None:
    assert plus_minus(mean_interval(scores)) == text


def test_the_command_takes_all_of_it(store: Store) -> None:
    for seed in range(2):
        for variant in ("softmw", "uniform"):
            store.trial([1.0, 2.0 + seed], variant=variant, seed=seed, params={"c": 1})
    store.trial([1.0, 9.0], params={"c": 2}, sweep="queues-2")
    common = ("compare", "queues", "--tracking-uri", store.uri, "--out", store.out)
    refused = invoke(*common)
    assert isinstance(refused.exception, InputError)
    shown = invoke(*common, "--where", "c=1", "--variant", "softmw", "--variant", "uniform")
    assert shown.exit_code == 0, shown.output
    assert "variant" in shown.output
    tex = invoke(*common, "--last", "--latex", "--format", "pdf", "--at", "end", "--by", "variant")
    assert tex.exit_code == 0, tex.output
    assert r"\begin{tabular}" in tex.output
    assert (store.out / "curves.pdf").exists()
