"""Comparisons say what the runs in the store say, no more and no less."""

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from rich.console import Console

from tenfold.platform.compare import Comparison, compare
from tenfold.platform.errors import InputError
from tenfold.platform.report import ALL_TASKS, number
from tenfold.platform.statistics import probability_of_improvement


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

    def trial(
        self,
        values: list[float],
        experiment: str = "queues",
        status: str = "FINISHED",
        params: dict[str, str] | None = None,
        metric: str = "backlog",
        mode: str = "min",
        steps: list[int] | None = None,
        **tags: Any,
    ) -> str:
        found = self.client.get_experiment_by_name(experiment)
        experiment_id = (
            found.experiment_id
            if found
            else self.client.create_experiment(experiment, self.artifacts)
        )
        self.clock += 1
        defaults = {"method": "softmw", "variant": "softmw", "task": "switching", "seed": 0}
        own = {"kind": "trial", "experiment": experiment, "metric": metric, "mode": mode}
        all_tags = {**defaults, **own, "step_unit": "slots", "commit": "abc", **tags}
        run = self.client.create_run(
            experiment_id, self.clock, {key: str(value) for key, value in all_tags.items()}
        )
        points = steps or list(range(10, 10 * len(values) + 1, 10))
        metrics = [Metric(metric, v, self.clock, s) for v, s in zip(values, points, strict=True)]
        self.client.log_batch(run.info.run_id, metrics=metrics)
        for key, value in (params or {}).items():
            self.client.log_param(run.info.run_id, key, value)
        if status != "RUNNING":
            self.client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)

    def compare(self, *names: str, **options: Any) -> Comparison:
        return compare(names or ("queues",), tracking_uri=self.uri, out=self.out, **options)


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return Store(tmp_path, template)


def filled(store: Store) -> Store:
    for task, scale in (("switching", 1.0), ("bursty", 10.0)):
        for seed in range(4):
            store.trial([9, scale * (1 + seed)], task=task, variant="softmw", seed=seed)
            store.trial([9, scale * (6 + seed)], task=task, variant="uniform", seed=seed)
    return store


def row(comparison: Comparison, task: str, group: str) -> Any:
    (found,) = (r for r in comparison.rows if (r.task, r.group) == (task, group))
    return found


def test_each_task_has_its_own_rows_and_the_aggregate_is_scaled(store: Store) -> None:
    found = filled(store).compare(baseline="uniform")
    assert row(found, "switching", "softmw").mean.value == pytest.approx(2.5)
    assert row(found, "bursty", "uniform").mean.value == pytest.approx(75.0)
    assert row(found, "switching", "softmw").better.value == 1.0
    assert row(found, "switching", "uniform").better is None
    # On each task 2.5 to 7.5, whatever the scale.
    overall = row(found, ALL_TASKS, "softmw")
    assert overall.mean.value == pytest.approx(1 / 3)
    assert overall.seeds == 8
    assert row(found, ALL_TASKS, "uniform").mean.value == pytest.approx(1.0)


def test_more_is_better_when_the_mode_says_so(store: Store) -> None:
    for seed in range(3):
        store.trial([seed], variant="a", seed=seed, mode="max")
        store.trial([10.0 + seed], variant="b", seed=seed, mode="max")
    found = store.compare(baseline="a")
    assert found.mode == "max"
    assert row(found, "switching", "b").better.value == 1.0


def test_the_newest_of_equal_cells_counts_and_the_others_are_told(store: Store) -> None:
    store.trial([5.0], seed=0)
    store.trial([7.0], seed=0)
    store.trial([9.0], seed=1)
    store.trial([1.0], seed=2, status="FAILED")
    store.trial([1.0], seed=3, status="RUNNING")
    found = store.compare()
    assert row(found, "switching", "softmw").mean.value == pytest.approx(8.0)
    assert (found.superseded, found.failed, found.running) == (1, 1, 1)
    notes = " ".join(found.notes())
    assert "1 failed or killed and 1 unfinished" in notes
    assert "1 older" in notes


def test_one_seed_has_no_interval_and_the_table_says_so(store: Store) -> None:
    store.trial([5.0])
    found = store.compare()
    assert row(found, "switching", "softmw").mean.low is None
    assert any("more seeds" in note for note in found.notes())
    printed = io.StringIO()
    found.print(Console(file=printed, width=80))
    assert "5.000" in printed.getvalue()
    assert "[5" not in printed.getvalue()


def test_a_swept_parameter_groups_in_the_order_of_its_numbers(store: Store) -> None:
    for c in ("10.0", "0.5", "2.0"):
        for seed in range(2):
            store.trial([float(c)], params={"c": c}, seed=seed)
    found = store.compare(by="c")
    assert [r.group for r in found.rows] == ["0.5", "2.0", "10.0"]
    assert [r.mean.value for r in found.rows] == [0.5, 2.0, 10.0]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"by": "varient"}, ["'varient'", "'variant'"]),
        ({"metric": "backlogg"}, ["'backlogg'", "'backlog'"]),
        ({"baseline": "unifrm"}, ["'unifrm'", "'uniform'"]),
        ({"tasks": ["burst"]}, ["'burst'", "'bursty'"]),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    store: Store, options: dict[str, Any], parts: list[str]
) -> None:
    filled(store)
    with pytest.raises(InputError) as refusal:
        store.compare(**options)
    for part in parts:
        assert part in str(refusal.value)


def test_unknown_experiments_and_unfinished_ones_are_refused(store: Store) -> None:
    store.trial([1.0], status="RUNNING")
    with pytest.raises(InputError, match="did you mean 'queues'"):
        store.compare("queue")
    with pytest.raises(InputError, match="No trial of queues has finished"):
        store.compare()


def test_methods_of_different_metrics_need_a_metric(store: Store) -> None:
    store.trial([1.0], method="softmw")
    store.trial([1.0], method="ppo", metric="return", mode="max")
    with pytest.raises(InputError, match="--metric"):
        store.compare("softmw", "ppo", by="method")


def test_curves_are_means_on_common_steps(store: Store) -> None:
    store.trial([0.0, 10.0], seed=0, steps=[0, 100])
    store.trial([4.0, 6.0, 8.0], seed=1, steps=[0, 50, 150])
    (curve,) = store.compare().curves
    assert curve.steps == [0, 50, 100]
    assert curve.mean == pytest.approx([2.0, 5.5, 8.5])
    assert curve.seeds == 2
    assert all(
        low < centre < high
        for low, centre, high in zip(curve.low[:2], curve.mean[:2], curve.high[:2], strict=True)
    )


def test_curves_against_another_metric_and_judged_the_other_way(store: Store) -> None:
    for seed, speed in enumerate((10.0, 20.0)):
        run = store.trial([4.0, 3.0, 1.0], seed=seed)
        cost = [Metric("flops", speed * step, 1, step) for step in (10, 20, 30)]
        store.client.log_batch(run, metrics=cost)
    found = store.compare(against="flops", mode="max")
    assert (found.mode, found.step_unit) == ("max", "flops")
    (curve,) = found.curves
    # Seed 0 is at 3 and 1 after 200 and 300, seed 1 at 4 and 3.5 there.
    assert curve.steps == [200, 300]
    assert curve.mean == pytest.approx([3.5, 2.25])
    with pytest.raises(InputError, match="metric of these runs 'flop'"):
        store.compare(against="flop")
    with pytest.raises(InputError, match="'mode'"):
        store.compare(mode="less")


def test_files_agree_with_the_comparison_and_are_in_mlflow(store: Store) -> None:
    found = filled(store).compare(baseline="uniform")
    data = json.loads(found.to_json())
    rows = list(csv.DictReader((store.out / "comparison.csv").open()))
    assert len(rows) == len(data["rows"]) == len(found.rows) == 6
    for line, entry in zip(rows, data["rows"], strict=True):
        assert (line["task"], line["group"]) == (entry["task"], entry["group"])
        assert float(line["mean"]) == pytest.approx(entry["mean"]["value"])
        assert float(line["mean_low"]) == pytest.approx(entry["mean"]["low"])
    assert found.mlflow_run is not None
    assert store.client.get_run(found.mlflow_run).data.tags["kind"] == "comparison"
    logged = {item.path for item in store.client.list_artifacts(found.mlflow_run)}
    assert {"comparison.csv", "report.html", "curves.png", "intervals.png"} <= logged
    again = store.compare(baseline="uniform")
    assert [vars(r) for r in again.rows] == [vars(r) for r in found.rows]


def test_the_report_stands_alone_and_escapes_what_it_shows(store: Store) -> None:
    for seed in range(2):
        store.trial([1.0, 2.0 + seed], variant="<script>alert(1)</script>", seed=seed)
    store.compare()
    html = (store.out / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "http://" not in html
    assert "https://" not in html
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert html.count("<img") == len(images) == 2
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)


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
    ],
)
def test_numbers_have_four_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_group_that_misses_a_task_is_left_out_of_the_aggregate(store: Store) -> None:
    filled(store)
    for seed in range(2):
        store.trial([3.0], variant="oracle", seed=seed)
    groups = {r.group for r in store.compare(baseline="uniform").rows if r.task == ALL_TASKS}
    assert groups == {"softmw", "uniform"}
    assert np.isfinite(row(store.compare(), "switching", "oracle").median)


def test_groups_without_numbers_are_ordered_best_first_by_their_ranks(store: Store) -> None:
    # Ranks b: 2, 2; c: 1, 1; a: 3, 3. The numbers' sizes must not matter.
    levels = {"one": {"a": 9.0, "b": 5.0, "c": 1.0}, "two": {"a": 1e6, "b": 20.0, "c": 10.0}}
    for task, values in levels.items():
        for variant, value in values.items():
            store.trial([0.0, value], task=task, variant=variant)
            store.trial([0.0, value], task=task, variant=variant, metric="gain", mode="max", seed=1)
    less = store.compare(metric="backlog")
    assert [r.group for r in less.rows] == ["c", "b", "a"] * 2
    assert [c.group for c in less.curves] == ["c", "b", "a"] * 2
    assert list(less.run_ids) == ["c", "b", "a"]
    more = store.compare(metric="gain")
    assert [r.group for r in more.rows] == ["a", "b", "c"] * 2


def test_a_mean_rank_counts_every_task_alike(store: Store) -> None:
    # a wins one task by far, b wins the two others narrowly.
    for task, a, b in (("one", 1.0, 1e6), ("two", 3.0, 2.0), ("three", 3.0, 2.0)):
        store.trial([a], task=task, variant="a")
        store.trial([b], task=task, variant="b")
    assert [r.group for r in store.compare(tasks=["one", "two", "three"]).rows] == ["b", "a"] * 3


def test_runs_without_the_parameter_are_the_last_group(store: Store) -> None:
    for c in ("10", "0.5", "2"):
        store.trial([1.0], params={"c": c})
    store.trial([1.0])
    assert [r.group for r in store.compare(by="c").rows] == ["0.5", "2", "10", "(default)"]


def test_unequal_seeds_agree_with_the_statistics_by_hand(store: Store) -> None:
    ours, theirs = [3.0, 5.0, 4.0], [4.0, 6.0, 5.0, 1.0, 7.0]
    for variant, values in (("ours", ours), ("theirs", theirs)):
        for seed, value in enumerate(values):
            store.trial([value], variant=variant, seed=seed)
    found = store.compare(baseline="theirs")
    assert [(r.group, r.seeds) for r in found.rows] == [("ours", 3), ("theirs", 5)]
    wins = [0.5 if x == y else float(x < y) for x in ours for y in theirs]
    better = row(found, "switching", "ours").better
    assert better.value == pytest.approx(np.mean(wins))
    arrays = np.array(ours), np.array(theirs)
    assert better == probability_of_improvement([arrays[0]], [arrays[1]], "min")
    assert row(found, "switching", "theirs").median == 5.0
    # Trimming a quarter of five values drops one at each end.
    assert row(found, "switching", "theirs").iqm.value == pytest.approx(5.0)
    assert row(found, "switching", "theirs").mean.value == pytest.approx(arrays[1].mean())


def test_finished_trials_without_the_metric_are_told_or_refused(store: Store) -> None:
    store.trial([4.0], seed=0)
    store.trial([], seed=1)
    found = store.compare()
    assert (found.without_metric, row(found, "switching", "softmw").seeds) == (1, 1)
    assert "Left out: 1 finished trials without backlog." in found.notes()
    store.trial([], experiment="empty")
    with pytest.raises(InputError, match="'backlog'"):
        store.compare("empty")


def test_trials_of_one_seed_that_differ_elsewhere_are_told(store: Store) -> None:
    for c in ("1", "2"):
        store.trial([float(c)], params={"c": c})
    assert store.compare().pooled == ["c"]
    assert "differ in c;" in " ".join(store.compare().notes())
    assert store.compare(by="c").pooled == []


def test_a_missing_aggregate_is_explained(store: Store) -> None:
    filled(store)
    assert not any("No table over all" in note for note in store.compare(baseline="softmw").notes())
    store.trial([0.0], task="third", variant="softmw")
    found = store.compare(baseline="softmw")
    assert all(r.task != ALL_TASKS for r in found.rows)
    assert any("No table over all tasks" in note for note in found.notes())


def test_curves_that_share_no_steps_are_left_out(store: Store) -> None:
    store.trial([1.0, 2.0], seed=0, steps=[0, 100])
    store.trial([3.0, 4.0], seed=1, steps=[200, 300])
    found = store.compare()
    assert found.curves == []
    assert row(found, "switching", "softmw").mean.value == 3.0


def test_comparing_twice_gives_the_same_json(store: Store) -> None:
    filled(store)
    first, second = (json.loads(store.compare(baseline="softmw").to_json()) for _ in range(2))
    assert first.pop("mlflow_run") != second.pop("mlflow_run")
    assert first == second


def test_the_table_keeps_brackets_and_marks_the_baseline(store: Store) -> None:
    for seed in range(2):
        store.trial([1.0 + seed], variant="[red]", seed=seed)
        store.trial([3.0 + seed], variant="plain", seed=seed)
    printed = io.StringIO()
    store.compare(baseline="[red]").print(Console(file=printed, width=80))
    lines = printed.getvalue().splitlines()
    (marked,) = (line for line in lines if line.endswith(" baseline  "))
    assert marked.split() == ["[red]", "2", "1.500", "[-4.853,", "7.853]", "1.500", "baseline"]
    (other,) = (line for line in lines if line.startswith(" plain"))
    assert other.split()[-3:] == ["0.00", "[0.00,", "0.88]"]
