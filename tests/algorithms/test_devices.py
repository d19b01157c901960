"""Devices and precision of the training loops, without a GPU.

The loops walk over a card that there is not in one process of their own, see `fake_card.py`; about
12 s of it, 4 s for the rest.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from tenfold.algorithms.mst import METHOD as MST
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.qsr import METHOD as QSR
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.platform import devices
from tenfold.platform.configuration import build_config, requested
from tenfold.platform.devices import Batches, Compute, anywhere, assigned_device, compiled
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import launch
from tenfold.platform.registry import get_method
from tenfold.platform.study import resolve_study
from tenfold.platform.training import TrainingConfig

from .lcm_pipelines import tiny_sd

TINY: dict[str, Any] = {**QSR.smoke, "workers_per_process": 1}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("card")
    script = Path(__file__).parent / "fake_card.py"
    done = subprocess.run(
        [sys.executable, script, folder, tiny_sd(folder / "sd")],
        env={**os.environ, "TENFOLD_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_loop_trains_saves_and_resumes_on_a_card(walked: dict[str, str]) -> None:
    loops = {name: said for name, said in walked.items() if not name.endswith("forgotten")}
    assert {name.split()[0] for name in loops} == {"qsr", "mst", "lcm", "solver"}
    assert loops == dict.fromkeys(loops, "")


def test_what_is_forgotten_on_the_cpu_raises(walked: dict[str, str]) -> None:
    forgotten = {name: said for name, said in walked.items() if name.endswith("forgotten")}
    assert len(forgotten) == 7
    for name, said in forgotten.items():
        solver = name.startswith("solver")
        met = "takes a tensor of the CPU" if solver else "FakeTensorDeviceMismatchError"
        assert met in said, (name, said)


def with_card(monkeypatch: pytest.MonkeyPatch, *, bf16: bool = True) -> None:
    """A torch that says that it sees one GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)


def assigned(monkeypatch: pytest.MonkeyPatch, ids: list[int], visible: str) -> None:
    """A Ray actor that was given some GPUs."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    context = type("Context", (), {"get_actor_id": lambda self: "actor"})
    monkeypatch.setattr(ray, "get_runtime_context", context)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: ids)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(
    ("ids", "visible", "device"),
    [
        ([], "0,1", "cpu"),  # two trials never share a card by accident
        ([1], "1", "cuda:0"),  # a trial sees its own card alone
        ([3], "2,3", "cuda:1"),  # Ray Train's workers see those of their node
        ([2], "", "cuda:2"),
    ],
)
def test_an_actor_takes_the_card_that_ray_assigned(
    ids: list[int], visible: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert assigned_device() == torch.device("cpu")
    with_card(monkeypatch)
    assigned(monkeypatch, ids, visible)
    assert assigned_device() == torch.device(device)


def test_a_trial_asks_for_the_gpu_that_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(cluster: dict[str, float], **fields: Any) -> dict[str, float]:
        monkeypatch.setattr(ray, "is_initialized", lambda: bool(cluster))
        monkeypatch.setattr(ray, "cluster_resources", lambda: cluster)
        qsr = get_method("qsr")
        return requested(qsr, build_config(qsr, "digits", "qsr", {**TINY, **fields}, 0))

    cards = {"CPU": 8.0, "GPU": 2.0}
    assert asked({}) == {"CPU": 1}
    assert asked({"CPU": 8.0}) == {"CPU": 1}
    assert asked(cards) == {"CPU": 1, "GPU": 1}
    assert asked(cards, gpus_per_trial=0.25) == {"CPU": 1, "GPU": 0.25}
    assert asked(cards, gpus_per_trial=0.0) == {"CPU": 1}
    assert asked(cards, device="cpu") == {"CPU": 1}
    assert asked({}, device="cuda") == {"CPU": 1, "GPU": 1}
    assert asked(cards, workers=2, gpus_per_worker=0.5) == {"CPU": 2, "GPU": 1}


def test_trials_at_once_are_as_many_as_cores_and_cards_take() -> None:
    workers = TrainingConfig(workers=2, gpus_per_worker=1.0)
    assert workers.trials_at_once({"CPU": 64.0, "GPU": 4.0}) == 2
    assert workers.trials_at_once({"CPU": 2.0, "GPU": 4.0}) == 1
    shared = TrainingConfig(workers=2, gpus_per_worker=0.25)
    assert shared.trials_at_once({"CPU": 64.0, "GPU": 4.0}) == 8
    assert TrainingConfig(workers=2).trials_at_once({"CPU": 64.0}) == 32
    with pytest.raises(ValueError, match=r"'workers': 2 need 2 GPUs, Ray has 1;"):
        workers.trials_at_once({"CPU": 64.0, "GPU": 1.0})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"device": "cpu", "gpus_per_trial": 0.5}, "0.5 for 'gpus_per_trial': 'device' is cpu"),
        ({"device": "cuda", "gpus_per_trial": 0.0}, "'cuda' for 'device': 'gpus_per_trial' is 0"),
        ({"device": "cuda", "workers": 1}, "'cuda' for 'device': 'gpus_per_worker' is 0"),
        ({"device": "cpu", "precision": "fp16"}, "'fp16' for 'precision': it is for GPUs"),
        ({"gpus_per_trial": 2.0}, "2.0 for 'gpus_per_trial': give 0 or more, up to 1"),
        ({"precision": "float32"}, "'float32' for 'precision': choose one of fp32, bf16, fp16"),
        ({"compile": True, "workers_per_process": 2}, "true for 'compile': it is for single"),
        ({"model": "resnet", "gradient_checkpointing": True}, "'gradient_checkpointing': resnet"),
    ],
    ids=str,
)
def test_devices_that_do_not_go_together_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        build_config(get_method("qsr"), "digits", "qsr", {**TINY, **config}, 0)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"device": "cuda"}, "Bad value 'cuda' for 'device': Ray has no GPU; give auto or cpu"),
        ({"precision": "fp16"}, "Bad value 'fp16' for 'precision': it is for GPUs"),
        ({"gpus_per_trial": 1.0}, "A trial asks for 1 GPUs and Ray has 0"),
    ],
    ids=str,
)
def test_what_no_machine_of_rays_can_do_is_refused_before_a_trial_starts(
    config: dict[str, Any], said: str, runs: Path
) -> None:
    study = resolve_study(make_experiment({"method": "qsr", "config": {**TINY, **config}}))
    with pytest.raises(InputError, match=said):
        launch(study, f"sqlite:///{runs}/mlflow.db")
    assert not any((runs / "tune").iterdir())


def test_a_card_that_cannot_do_bf16_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch, bf16=False)
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    wanted = QSRConfig(**TINY, precision="bf16")
    for refuse in (lambda: wanted.check_devices({"GPU": 1.0}), lambda: Compute.of(wanted)):
        with pytest.raises(InputError, match="'bf16' for 'precision': Old GPU does not compute"):
            refuse()
    with_card(monkeypatch)
    wanted.check_devices({"GPU": 1.0})
    assert Compute.of(wanted) == Compute(torch.device("cuda", 0), torch.bfloat16)


def test_a_run_of_a_card_is_judged_without_one() -> None:
    trained = QSRConfig(**TINY, device="cuda", precision="fp16")
    with pytest.raises(InputError, match="'cuda' for 'device': this process has no GPU"):
        Compute.of(trained)
    assert Compute.of(anywhere(trained)) == Compute()


def test_weights_gradients_and_moments_stay_in_fp32_under_bf16() -> None:
    exact = QSRLoop(QSRConfig(**TINY))
    half = QSRLoop(QSRConfig(**TINY, precision="bf16"))
    for loop in (exact, half):
        loop.train(12)
    state = [t for entries in half.optimizer.state.values() for t in entries.values()]
    held = [*half.workers.parameters.values(), *state]
    assert {tensor.dtype for tensor in held} == {torch.float32}
    seen: list[torch.dtype] = []
    half.workers.loss = lambda model, batch: (
        seen.append(model(pixel_values=batch["pixel_values"]).logits.dtype) or torch.zeros(())
    )
    half.workers.losses(half.batches(0))
    assert seen == [torch.bfloat16]
    for name, p in exact.workers.parameters.items():
        assert not torch.equal(half.workers.parameters[name], p), name
        torch.testing.assert_close(half.workers.parameters[name], p, rtol=0.1, atol=0.02)


def test_micro_batches_are_one_batch_of_all_of_them() -> None:
    config = QSRConfig(**{**TINY, "steps": 1, "batch": 2, "accumulate": 3, "clip": 0.0})
    loop = QSRLoop(config)
    whole = QSRLoop(config)
    parts = [whole.batches(number) for number in range(3)]
    joined = {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}
    whole.workers.losses(joined).sum().backward()
    loop._gradients()
    for name, p in whole.workers.parameters.items():
        torch.testing.assert_close(loop.workers.parameters[name].grad, p.grad, msg=name)
    assert loop.items_per_step == 6


def test_a_step_whose_gradients_overflow_is_left_out() -> None:
    loop = QSRLoop(QSRConfig(**TINY))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    loop.optimizer.scaler = scaler
    before = {name: p.detach().clone() for name, p in loop.workers.parameters.items()}
    loop._gradients()
    some = next(iter(loop.workers.parameters.values()))
    assert some.grad is not None
    some.grad[0] = torch.inf
    loop.optimizer.step()
    assert scaler.get_scale() == 2.0
    assert all(torch.equal(p, before[name]) for name, p in loop.workers.parameters.items())
    loop.optimizer.zero_grad()
    loop._gradients()
    loop.optimizer.step()
    assert scaler.get_scale() == 4.0
    assert not any(torch.equal(p, before[name]) for name, p in loop.workers.parameters.items())
    assert loop.optimizer.state_dict()["scaler"]["scale"] == 4.0


def test_activations_computed_twice_give_the_same_training() -> None:
    few = {**MST.smoke, "steps": 3}
    loops = [MSTLoop(MSTConfig(**few, gradient_checkpointing=twice)) for twice in (False, True)]
    assert len({float(loop.train(3)["train_loss"]) for loop in loops}) == 1


def test_a_model_that_cannot_be_compiled_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(model: Any) -> Any:
        def run(**inputs: Any) -> Any:
            raise torch._dynamo.exc.TorchDynamoException("no compiler")

        return run

    monkeypatch.setattr(torch, "compile", fails)
    double = compiled(lambda x: 2 * x)
    assert [double(x=3), double(x=4)] == [6, 8]
    said = capsys.readouterr().out.splitlines()
    assert said == ["torch.compile fails ('no compiler'), so the model runs as it is."]


def test_batches_of_a_card_are_made_one_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make(number: int) -> devices.Batch:
        made.append(number)
        return {"x": torch.full((2,), number)}

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(Compute, "bring", lambda compute, batch: batch)
    batches = Batches(make, Compute(torch.device("cuda", 0)))
    assert [int(batches(number)["x"][0]) for number in (0, 1, 2, 7)] == [0, 1, 2, 7]
    assert made[:5] == [0, 1, 2, 3, 7]
