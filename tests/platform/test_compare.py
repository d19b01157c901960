"""Comparisons say what the runs in the store say, no more and no less."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from rich.console import Console

from tenfold.platform.compare import ALL_TASKS, Comparison, compare, number
from tenfold.platform.errors import InputError


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
    assert html.count("data:image/png;base64,") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234567.0, "1,235,000"),
        (12.3456, "12.35"),
        (0.00012, "1.200e-04"),
        (-3, "-3.000"),
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
