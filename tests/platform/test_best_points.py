"""`--best-of`: each variant at its own best point of a sweep, on seeds that nothing was tuned on.

Costs about 12 processor seconds, imports too: a sweep of eight short trials, and a run of two.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import pytest
from conftest import invoke
from mlflow import MlflowClient
from mlflow.entities import Run

from tenfold.platform import launch
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import load_experiment
from tenfold.platform.store import tracking_uri
from tenfold.platform.study import resolve_study

if TYPE_CHECKING:
    from tenfold.platform.study import Study

KEY = "constants.c_eta"
VARIANTS = ("--variant", "softmw,ssmw")
SHORT = ("--set", "horizon=1000", "--set", "replicas=2", "--cpus", "1", "--concurrent", "1")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, float]]:
    """A sweep of both variants; for each the value with the least mean backlog of two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setattr(launch, "has_ray", lambda address: False)  # trials run in this process
        done = invoke(
            *("sweep", "softmw", *VARIANTS, *SHORT, "--sweep", f"{KEY}=[0.1, 10.0]"),
            *("--seeds", "100,101", "--name", "tuning"),
        )
        assert done.exit_code == 0, done.output
        backlogs: dict[tuple[str, float], list[float]] = defaultdict(list)
        for run in trials("tuning"):
            point = run.data.tags["variant"], float(run.data.params[KEY])
            backlogs[point].append(run.data.metrics["backlog_mean"])
        assert {len(each) for each in backlogs.values()} == {2}
        best: dict[str, float] = {}
        for (variant, value), _ in sorted(backlogs.items(), key=lambda point: fmean(point[1])):
            best.setdefault(variant, value)
        yield best


def trials(experiment: str) -> list[Run]:
    """The trials of an experiment, as the store has them."""
    client = MlflowClient(tracking_uri=tracking_uri())
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs: list[Run] = client.search_runs([found.experiment_id], "tags.kind = 'trial'")
    return runs


def test_each_variant_runs_at_its_own_best_point(swept: dict[str, float]) -> None:
    done = invoke("run", "softmw", *VARIANTS, *SHORT, "--best-of", "tuning", "--name", "fair")
    assert done.exit_code == 0, done.output
    assert {run.data.tags["variant"]: float(run.data.params[KEY]) for run in trials("fair")} == (
        swept
    )
    for variant, value in swept.items():
        assert f"{variant}: {KEY}={value} (best of 2 in tuning, seeds 100, 101)" in done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--seeds", "99,100"), "'tuning' tuned with seed 100, on which nothing may be compared"),
        (("--set", f"{KEY}=2.0"), f"Config key '{KEY}' is both set to 2.0 and"),
        (("--variant", "uniform"), "variant 'uniform' was swept by none of them"),
        (("--task", "stationary"), "Unknown task in these runs 'stationary'"),
        (("--task", "stationary,switching"), "takes the points of one task, and 2 are given"),
        (("--best-of", "nothing"), "Unknown experiment, method or run in the store 'nothing'"),
        (("--best-of", "its id"), "variant 'softmw' was swept by tuning and by "),
    ],
    ids=["seed", "set", "variant", "task", "tasks", "sweep", "two"],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    swept: dict[str, float], launched: list["Study"], options: tuple[str, str], said: str
) -> None:
    if "its id" in options:  # the same sweep by another name
        options = "--best-of", trials("tuning")[0].data.tags["mlflow.parentRunId"]
    refused = invoke("run", "softmw", *VARIANTS, *SHORT, "--best-of", "tuning", *options)
    assert isinstance(refused.exception, InputError)
    assert said in str(refused.exception)
    assert not launched


def test_a_file_may_change_single_variants_and_a_flag_wins(tmp_path: Path) -> None:
    file = tmp_path / "fair.yaml"
    file.write_text(
        "method: softmw\nvariants: [softmw, ssmw]\nconfig: {horizon: 1000, replicas: 2}\n"
        "variant_config: {ssmw: {replicas: 3, constants.c_eta: 2.0}}\n"
    )
    study = resolve_study(load_experiment(file))
    plain, other = (study.unswept(variant) for variant in ("softmw", "ssmw"))
    assert (plain.replicas, other.replicas, other.horizon) == (2, 3, 1000)
    assert other.constants["c_eta"] == 2.0 != plain.constants.get("c_eta")
    said = resolve_study(load_experiment(file, {"config": {"replicas": 5}}))
    assert {said.unswept(variant).replicas for variant in ("softmw", "ssmw")} == {5}
    assert said.unswept("ssmw").constants["c_eta"] == 2.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("{nobody: {horizon: 5}}", "Unknown variant of softmw in 'variant_config' 'nobody'"),
        ("{ssmw: {horizn: 5}}", "horizn"),
        ("{ssmw: {horizon: many}}", "Bad value 'many' for 'horizon'"),
        ("{ssmw: 5}", "Bad value 5 for 'variant_config.ssmw'"),
    ],
    ids=["variant", "key", "value", "shape"],
)
def test_a_mistake_in_a_variants_changes_is_refused(
    tmp_path: Path, launched: list["Study"], changes: str, said: str
) -> None:
    file = tmp_path / "fair.yaml"
    file.write_text(f"method: softmw\nvariants: [softmw, ssmw]\nvariant_config: {changes}\n")
    refused = invoke("run", file)
    assert isinstance(refused.exception, InputError)
    assert said in str(refused.exception)
    assert not launched


def test_what_a_variant_sets_is_not_swept(tmp_path: Path, launched: list["Study"]) -> None:
    file = tmp_path / "fair.yaml"
    file.write_text(f"method: softmw\nvariant_config: {{softmw: {{{KEY}: 2.0}}}}\n")
    refused = invoke("sweep", file, "--sweep", f"{KEY}=[0.1, 1.0]")
    assert isinstance(refused.exception, InputError)
    assert f"Config key '{KEY}' is both set to 2.0 and swept" in str(refused.exception)
    assert not launched
