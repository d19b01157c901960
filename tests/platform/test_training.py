"""Training loops on Ray Train: the same numbers as in one process, through deaths and resumes."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from conftest import Started, invoke
from safetensors.torch import load_file

from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.registry import get_method
from tenfold.platform.study import resolve_study
from tenfold.platform.training import TrainingTrial
from tenfold.platform.trial import trial_class

STEPS, EVERY = 60, 10


def trial(**fields: Any) -> TrainingTrial:
    method = get_method("qsr")
    config = {**method.smoke, "steps": STEPS, "report_every": EVERY, **fields}
    experiment = make_experiment({"method": "qsr", "config": config})
    built = trial_class(resolve_study(experiment))({"task": "digits", "variant": "qsr", "seed": 0})
    assert isinstance(built, TrainingTrial)
    return built


@pytest.fixture(scope="module")
def in_one_process() -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """Reports and parameters of two local workers that one process holds as a stack."""
    stacked = trial(workers_per_process=2)
    reports = [stacked.train() for _ in range(STEPS // EVERY)]
    return reports, dict(stacked.loop.workers.parameters)  # type: ignore[attr-defined]


def train_workers() -> list[psutil.Process]:
    """Ray Train's worker processes of this session."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in process.name() or "RayTrainWorker" in " ".join(cmdline(process))
    ]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.usefixtures("ray_session")
def test_two_ray_workers_are_a_stack_of_two_also_when_one_is_killed(
    in_one_process: tuple[list[dict[str, Any]], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    expected, parameters = in_one_process
    distributed = trial(workers=2, workers_per_process=1)
    reports = [distributed.train()]
    victims = train_workers()
    assert len(victims) == 2
    victims[0].send_signal(signal.SIGKILL)
    while not reports[-1]["done"]:
        reports.append(distributed.train())
    assert [r["step"] for r in reports] == [r["step"] for r in expected]
    for found, wanted in zip(reports, expected, strict=True):
        for key in ("loss", "accuracy", "train_loss", "consensus_distance", "averages"):
            assert found[key] == pytest.approx(wanted[key], rel=1e-5), key
    distributed.save_checkpoint(str(tmp_path))
    for rank in range(2):
        shard = load_file(tmp_path / f"worker-{rank}.safetensors")
        for name, stack in parameters.items():
            torch.testing.assert_close(
                shard[f"parameter/{name}"], stack[rank], rtol=1e-4, atol=1e-5
            )
    distributed.stop()
    wait_until_all_is_free()


def wait_until_all_is_free() -> None:
    """Until Ray has all of its CPUs again; fails if some are still reserved after a while."""
    for _ in range(300):
        if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return
        time.sleep(0.1)
    raise AssertionError(ray.util.placement_group_table())


@pytest.mark.usefixtures("ray_session")
def test_a_trial_that_is_stopped_early_frees_what_its_workers_had() -> None:
    stopped = trial(workers=2, workers_per_process=1)
    stopped.train()
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"] - 2
    stopped.stop()
    wait_until_all_is_free()


EXPERIMENT = """
method: qsr
name: killed
config:
  {{steps: 200, report_every: 20, workers: {workers}, workers_per_process: {stacked}, batch: 4,
    sizes: {{num_hidden_layers: 1, hidden_size: 8, intermediate_size: 8}}}}
checkpoint: {{every: 1}}
resources: {{cpus: 4}}
"""


def results(runs: Path) -> list[dict[str, Any]]:
    """What the trial has reported so far."""
    found = list((runs / "tune").glob("killed-*/digits*/result.json"))
    lines = found[0].read_text().splitlines(keepends=True) if found else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize(("workers", "stacked"), [(0, 2), (2, 1)], ids=["process", "ray-train"])
def test_200_steps_are_the_same_through_a_killed_driver(
    workers: int,
    stacked: int,
    tmp_path: Path,
    runs: Path,
    started: Started,
    ray_session: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "killed.yaml").write_text(EXPERIMENT.format(workers=workers, stacked=stacked))
    with started("run", "killed.yaml", cwd=tmp_path, address=ray_session) as driver:
        while len(results(runs)) < 2:
            assert driver.poll() is None, "the run ended before its second report"
            time.sleep(0.02)
        driver.kill()
        driver.communicate()  # until all that writes there is gone: a run has one driver
    reached = results(runs)[-1]["step"]
    assert reached < 200
    resumed = invoke("run", "killed.yaml", "--resume")
    assert resumed.exit_code == 0, resumed.output
    torch.set_num_threads(1)  # as a trial's process has it, whatever a library has set here
    straight = trial(steps=200, report_every=20, workers_per_process=2)
    while not (last := straight.train())["done"]:
        pass
    found = results(runs)[-1]
    assert found["step"] == 200
    for key in ("loss", "train_loss", "averages", "sent_bytes", "consensus_distance"):
        assert found[key] == pytest.approx(last[key], rel=0 if workers == 0 else 1e-6), key


def test_an_evaluation_judges_the_saved_model(tmp_path: Path) -> None:
    trained = trial()
    report = trained.train()
    trained.save_checkpoint(str(tmp_path))
    other = trial()
    assert other.evaluate()["loss"] != report["loss"]
    other.load_checkpoint(str(tmp_path))
    assert other.evaluate()["loss"] == report["loss"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"stpes": 3}, ["config key of qsr 'stpes'", "'steps'"]),
        ({"steps": 0}, ["0", "'steps'", "1 or more"]),
        ({"steps": 2.5}, ["2.5", "'steps'", "whole number"]),
        ({"model": "vitt"}, ["'vitt'", "'model'", "vit, resnet"]),
        ({"workers": -1}, ["-1", "'workers'", "0 or more"]),
        ({"workers": 2, "min_workers": 3}, ["3", "'min_workers'", "'workers', which is 2"]),
        ({"lr_floor": 1.0}, ["1.0", "'lr_floor'", "at most 'lr'"]),
        ({"model": "gpt2"}, ["'gpt2'", "'model'", "vit, resnet or"]),
        ({"average_moments": ["momentum_buffer"]}, ["momentum_buffer", "exp_avg"]),
        ({"seed": 3}, ["'seed'", "'seeds'"]),
        ({"batch": 1_000}, ["1000", "'batch'"]),
    ],
)
def test_mistakes_are_refused_in_one_sentence(config: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        build_config(get_method("qsr"), "digits", "qsr", config, seed=0)
    message = str(refusal.value)
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.usefixtures("ray_session")
def test_two_ray_workers_prune_and_grow_the_same_weights(tmp_path: Path) -> None:
    method = get_method("mst")
    config = {**method.smoke, "steps": 24, "report_every": 24, "delta": 2, "workers": 2}
    experiment = make_experiment({"method": "mst", "config": config})
    build = trial_class(resolve_study(experiment))
    point = {"task": "stdlib", "variant": "mst", "seed": 0}
    built = build(point)
    report = built.train()  # a worker that finds other masks than its own ends the trial
    built.save_checkpoint(str(tmp_path))
    built.stop()
    one, two = (load_file(tmp_path / f"worker-{rank}.safetensors") for rank in range(2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    finished = trial_class(resolve_study(experiment))(
        {"task": "stdlib", "variant": "mst", "seed": 0}
    )
    finished.load_checkpoint(str(tmp_path))
    again = finished.train()  # nothing is left to train: it is judged once more
    finished.stop()
    assert (again["done"], again["step"]) == (True, 24)
    assert again["loss"] == pytest.approx(report["loss"], rel=1e-5)
    stacked = {**config, "workers": 0, "workers_per_process": 2}
    alone = trial_class(resolve_study(make_experiment({"method": "mst", "config": stacked})))(
        {"task": "stdlib", "variant": "mst", "seed": 0}
    ).train()
    for key in ("loss", "flops", "churn", "ever_active"):
        assert report[key] == pytest.approx(alone[key], rel=1e-4), key
