"""Local workers against loops written out by hand, averages, batch normalisation, resume."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForImageClassification, GPT2LMHeadModel

from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.common.local_optimizer import AllReduce, LocalOptimizer, StackMean
from tenfold.algorithms.common.synchronisation import ConstantSync
from tenfold.algorithms.common.workers import reestimate_batchnorm
from tenfold.algorithms.qsr import METHOD
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.algorithms.qsr.planner import Cluster, plan
from tenfold.algorithms.qsr.schedule import QuadraticSync
from tenfold.algorithms.qsr.sharpness import hessian_trace
from tenfold.tune_spaces.qsr import SPACES

TINY: dict[str, Any] = {
    "steps": 23,
    "report_every": 100,
    "workers_per_process": 3,
    "batch": 5,
    "lr": 0.01,
    "alpha": 0.02,
    "sizes": {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8},
}
RESNET = {"model": "resnet", "sizes": {"embedding_size": 4, "hidden_sizes": [4], "depths": [1]}}


def finished(**fields: Any) -> tuple[QSRLoop, dict[str, float]]:
    config = QSRConfig(**{**TINY, **fields})
    config.check()
    loop = QSRLoop(config)
    metrics: dict[str, float] = {}
    while not loop.finished:
        metrics = loop.advance()
    return loop, metrics


def by_hand(config: QSRConfig) -> list[torch.nn.Module]:
    """K models trained one after the other by plain torch's SGD, averaged at the ends of rounds."""
    loop = QSRLoop(config)
    torch.manual_seed(config.seed)
    first = loop.task.model().train()
    models = [copy.deepcopy(first) for _ in range(loop.K)]
    optimizers = [
        torch.optim.SGD(
            m.parameters(),
            lr=config.lr,
            momentum=config.betas[0],
            weight_decay=config.weight_decay,
        )
        for m in models
    ]
    rounds = list(config.sync.rounds(config.learning_rate))
    for start, H in rounds:
        for step in range(start, start + H):
            for k, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
                batch = loop.task.batch(step, k, loop.K)
                optimizer.param_groups[0]["lr"] = config.learning_rate(step)
                loss = cross_entropy(
                    model(pixel_values=batch["pixel_values"]).logits, batch["labels"]
                )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            for same in zip(*(m.parameters() for m in models), strict=True):
                mean = torch.stack(same).mean(dim=0)
                for p in same:
                    p.copy_(mean)
    return models


@pytest.mark.parametrize("model", [{}, RESNET], ids=["vit", "resnet"])
def test_a_stack_of_workers_is_local_training_written_out(model: dict[str, Any]) -> None:
    loop, _ = finished(optimizer="sgd", lr=0.05, alpha=0.1, **model)
    assert max(r.H for r in loop.config.sync.rounds(loop.config.learning_rate)) > 4
    models = by_hand(loop.config)
    for k, one in enumerate(models):
        for name, p in one.named_parameters():
            torch.testing.assert_close(
                loop.workers.parameters[name][k], p, rtol=1e-4, atol=2e-5, msg=name
            )
        for name, b in one.named_buffers():
            torch.testing.assert_close(loop.workers.buffers[name][k], b, rtol=1e-4, atol=1e-4)


def test_data_parallel_is_one_worker_with_the_whole_batch() -> None:
    shared, _ = finished(rule="data_parallel", clip=0.0)
    # The same images in one batch: worker k's batches of a step side by side.
    alone = QSRLoop(QSRConfig(**{**TINY, "rule": "data_parallel", "clip": 0.0}))
    torch.manual_seed(0)
    model = alone.task.model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.05)
    for step in range(23):
        optimizer.param_groups[0]["lr"] = alone.config.learning_rate(step)
        parts = [alone.task.batch(step, k, 3) for k in range(3)]
        pixels = torch.cat([part["pixel_values"] for part in parts])
        labels = torch.cat([part["labels"] for part in parts])
        optimizer.zero_grad()
        cross_entropy(model(pixel_values=pixels).logits, labels).backward()
        optimizer.step()
    for name, p in model.named_parameters():
        # Adam divides by the root of small squares, which magnifies rounding.
        torch.testing.assert_close(shared.workers.parameters[name][0], p, rtol=1e-3, atol=1e-4)


def test_averaging_after_every_step_of_sgd_is_data_parallel() -> None:
    sgd = {"optimizer": "sgd", "clip": 0.0, "lr": 0.05}
    shared, _ = finished(rule="data_parallel", **sgd)
    averaged, _ = finished(rule="constant", base=1, **sgd)
    for name, p in shared.workers.parameters.items():
        torch.testing.assert_close(averaged.workers.parameters[name], p, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", METHOD.variants)
def test_averages_and_bytes_are_as_planned(variant: str) -> None:
    loop, metrics = finished(**METHOD.variants[variant])
    config = loop.config
    predicted = plan(
        config.sync, config.learning_rate, metrics["model_bytes"], Cluster(loop.K, 1.0, 1.0)
    )
    assert metrics["averages"] == predicted.averages
    assert metrics["communication_fraction"] == predicted.fraction
    assert metrics["sent_bytes"] == pytest.approx(predicted.sent_bytes, rel=1e-12)
    parameters = sum(p.numel() for p in loop.workers.module.parameters())
    assert metrics["model_bytes"] == 4 * parameters


def test_after_an_average_workers_agree_and_their_moments_differ_unless_averaged() -> None:
    def spread(name: str, **fields: Any) -> float:
        loop, _ = finished(**fields)
        inner = loop.optimizer.inner.state
        tensors = [
            p if name == "parameter" else inner[p][name] for p in loop.workers.parameters.values()
        ]
        return max(float((t - t[:1]).abs().max()) for t in tensors)

    assert spread("parameter") == 0.0
    assert spread("exp_avg") > 0.0
    assert spread("exp_avg", average_moments=("exp_avg",)) == 0.0
    assert spread("exp_avg_sq", average_moments=("exp_avg",)) > 0.0


def test_averages_keep_the_parameters_objects_and_types() -> None:
    rng = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(4, 3, generator=rng),
        torch.randn(4, generator=rng, dtype=torch.float64),
    ]
    expected = [t.mean(dim=0).expand_as(t).clone() for t in tensors]
    places = [t.data_ptr() for t in tensors]
    average = StackMean(4, AllReduce())
    average(tensors)
    assert [t.data_ptr() for t in tensors] == places
    for tensor, mean in zip(tensors, expected, strict=True):
        assert torch.equal(tensor, mean)
    assert average.sent == 2 * 3 / 4 * (3 * 4 + 8)


def test_a_local_optimizer_works_in_any_loop() -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    lr = LearningRate("linear", 0.1, 5, 0, 0.0)
    optimizer = LocalOptimizer(torch.optim.SGD([parameter], lr=9.0), ConstantSync(5, 2), lr)
    value, averaged = 2.0, []
    for step in range(5):
        (parameter**2 / 2).sum().backward()
        averaged.append(optimizer.step())
        optimizer.zero_grad()
        value *= 1 - 0.1 * (1 - step / 5)
    assert float(parameter) == pytest.approx(value)
    assert averaged == [False, True, False, True, True]


def two_groups() -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
    parameters = [torch.nn.Parameter(torch.tensor([x, -x])) for x in (1.0, 2.0)]
    groups = [{"params": parameters[:1], "lr": 0.3}, {"params": parameters[1:], "lr": 0.02}]
    return parameters, torch.optim.AdamW(groups, weight_decay=0.1)


def descend(parameters: list[torch.nn.Parameter], optimizer: Any, scheduler: Any) -> None:
    for _ in range(9):
        sum((p**4).sum() for p in parameters).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()


def test_torchs_schedulers_drive_a_local_optimizer_group_by_group() -> None:
    plain, optimizer = two_groups()
    descend(plain, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5))
    ours, inner = two_groups()
    local = LocalOptimizer(inner, ConstantSync(9, 1))
    descend(ours, local, torch.optim.lr_scheduler.StepLR(local, 2, gamma=0.5))
    assert [group["lr"] for group in local.param_groups] == [0.3 / 2**4, 0.02 / 2**4]
    assert local.averages == 9
    for p, q in zip(plain, ours, strict=True):
        assert torch.equal(p, q)


def test_the_first_step_of_a_round_fixes_its_length_by_the_largest_rate() -> None:
    parameters, inner = two_groups()
    # H = (alpha / eta)^2 with eta 0.3 for four steps, then 0.15: 1, 1, 1, 1, 4.
    local = LocalOptimizer(inner, QuadraticSync(8, 0.3, 1, 2, 0, 0.3))
    scheduler = torch.optim.lr_scheduler.StepLR(local, 4, gamma=0.5)
    ended = []
    for _ in range(8):
        sum((p**4).sum() for p in parameters).backward()
        ended.append(local.step())
        scheduler.step()
    assert ended == [True] * 4 + [False] * 3 + [True]


def test_a_schedule_of_ours_keeps_the_groups_ratios_also_after_loading() -> None:
    _, inner = two_groups()
    local = LocalOptimizer(inner, ConstantSync(10, 2), LearningRate("linear", 0.6, 10, 0, 0.0))
    for _ in range(5):
        local.step()
    _, other = two_groups()
    again = LocalOptimizer(other, ConstantSync(10, 2), local.learning_rate)
    again.load_state_dict(copy.deepcopy(local.state_dict()))
    assert (again.step_count, again.round_start, again.H) == (5, 4, 2)
    again.step()
    rates = [group["lr"] for group in again.param_groups]
    assert rates == pytest.approx([0.3, 0.02])  # 0.6 (1 - 5 / 10), and a fifteenth of it
    assert again.param_groups is other.param_groups


def test_running_statistics_are_those_of_the_batches() -> None:
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean.fill_(77.0)

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norm

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x)

    batches = [torch.randn(50, 3) * 2 + 5 for _ in range(7)]
    reestimate_batchnorm(Wrapped().eval(), [{"x": x} for x in batches])
    torch.testing.assert_close(norm.running_mean, torch.stack(batches).mean(dim=(0, 1)))
    variances = torch.stack([x.var(dim=0) for x in batches]).mean(dim=0)
    torch.testing.assert_close(norm.running_var, variances)
    assert not norm.training
    assert norm.momentum == 0.1


def test_the_hessians_trace_of_a_diagonal_quadratic_is_exact() -> None:
    linear = torch.nn.Linear(4, 1, bias=False)
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])
    trace = hessian_trace(linear, lambda: (scale * linear.weight**2).sum(), samples=2, seed=0)
    assert trace == pytest.approx(20.0)


@pytest.mark.parametrize(
    "fields",
    [{}, RESNET, {"rule": "data_parallel"}, {"task": "stdlib", "sizes": {"n_layer": 1}}],
    ids=["vit", "resnet", "data_parallel", "gpt2"],
)
def test_200_steps_are_100_saved_and_loaded_and_100(fields: dict[str, Any], tmp_path: Path) -> None:
    config = QSRConfig(
        **{**TINY, "steps": 200, "report_every": 50, "batch": 2, "context": 16, **fields}
    )
    straight, halfway = QSRLoop(config), QSRLoop(config)
    for _ in range(2):
        straight.advance()
        halfway.advance()
    halfway.save(tmp_path)
    resumed = QSRLoop(config)
    resumed.load(tmp_path)
    for _ in range(2):
        expected, found = straight.advance(), resumed.advance()
    timed = ("_seconds", "_per_second")
    for key, value in expected.items():
        if not key.endswith(timed):
            assert found[key] == value, key
    for name, p in straight.workers.parameters.items():
        assert torch.equal(resumed.workers.parameters[name], p), name


def test_another_number_of_processes_goes_on_from_the_mean(tmp_path: Path) -> None:
    config = QSRConfig(**{**TINY, "steps": 40, "workers_per_process": 2})
    for rank in range(2):
        loop = QSRLoop(config, rank=rank, size=2)
        loop.train(7)
        loop.save(tmp_path)
    alone = QSRLoop(config)
    alone.load(tmp_path)
    shards = [load_file(tmp_path / f"worker-{rank}.safetensors") for rank in range(2)]
    for name, p in alone.workers.parameters.items():
        four = torch.cat([shard[f"parameter/{name}"] for shard in shards])
        torch.testing.assert_close(p, four.mean(dim=0).expand_as(p))
    assert (alone.step, alone.optimizer.round_start) == (7, 7)
    while not alone.finished:
        metrics = alone.advance()
    assert metrics["averages"] == metrics["planned_averages"]


def resumed_under(folder: Path, due: int, **changed: Any) -> tuple[QSRLoop, int]:
    """A run that stopped at step `due` and goes on under another config; averages before that."""
    before = QSRLoop(QSRConfig(**{**TINY, "steps": 40}))
    before.train(due)
    before.save(folder)
    after = QSRLoop(QSRConfig(**{**TINY, "steps": 40, **changed}))
    after.load(folder)
    return after, before.optimizer.averages


@pytest.mark.parametrize(
    ("due", "changed"),
    [
        (8, {"lr": 0.004}),
        (29, {"lr": 0.1}),
        (29, {"alpha": 0.2}),
        (9, {"alpha": 0.001}),
        (29, {"base": 1}),
        (9, {"base": 8}),
        (40, {"steps": 50}),
        (31, {"power": 3.0, "lr_shape": "linear", "warmup": 0.3}),
    ],
    ids=str,
)
def test_a_changed_schedule_holds_from_the_resumed_step_on(
    due: int, changed: dict[str, Any], tmp_path: Path
) -> None:
    loop, done = resumed_under(tmp_path, due, **changed)
    config = loop.config
    rounds = list(config.sync.rounds(config.learning_rate, due))
    ends = []
    for step in range(due + 1, config.steps + 1):
        before = loop.optimizer.averages
        metrics = loop.train(step)
        assert metrics["planned_averages"] == done + len(rounds)
        assert metrics["communication_fraction"] == metrics["averages"] / step
        ends += [step] * (loop.optimizer.averages - before)
    assert ends == [r.start + r.H for r in rounds]
    assert metrics["averages"] == done + len(rounds)


def test_every_key_of_the_search_spaces_can_change_in_mid_run(tmp_path: Path) -> None:
    keys = {key for space in SPACES.values() for key in space.define(tune)}
    assert keys
    assert not keys & QSRConfig.fixed
    values = {"alpha": 0.05, "base": 2, "lr": 0.02, "outer_lr": 0.5}
    assert values.keys() == keys
    loop, _ = resumed_under(tmp_path, 31, **values)
    metrics = loop.train(40)
    assert metrics["averages"] == metrics["planned_averages"]


def test_a_plan_counts_on_through_a_second_resume_with_other_processes(tmp_path: Path) -> None:
    config = QSRConfig(**{**TINY, "steps": 40, "workers_per_process": 2})
    for rank in range(2):
        loop = QSRLoop(config, rank=rank, size=2)
        loop.train(7)
        loop.save(tmp_path)
    alone = QSRLoop(config)
    alone.load(tmp_path)
    alone.train(20)
    alone.save(tmp_path)
    again = QSRLoop(config)
    again.load(tmp_path)
    metrics = again.train(40)
    assert metrics["averages"] == metrics["planned_averages"]
    assert again.planned == alone.planned


def test_a_finished_runs_checkpoint_is_judged_again(tmp_path: Path) -> None:
    loop, metrics = finished(steps=6)
    loop.save(tmp_path)
    again = QSRLoop(loop.config)
    again.load(tmp_path)
    report = again.advance()
    assert report["step"] == 6
    assert report["accuracy"] == metrics["accuracy"]
    assert again.finished


@pytest.mark.parametrize(
    "fields",
    [{}, {"task": "stdlib", "sizes": {"n_layer": 1}, "context": 8}],
    ids=["images", "text"],
)
def test_a_run_that_diverges_says_so(fields: dict[str, Any]) -> None:
    _, metrics = finished(lr=1e6, clip=0.0, steps=10, validation_windows=4, **fields)
    for name in ("loss", "accuracy", "train_loss", "consensus_distance", "worker_accuracy"):
        assert not math.isfinite(metrics[name]), name
    assert metrics["averages"] == metrics["planned_averages"]


def test_what_is_saved_loads_in_plain_transformers(tmp_path: Path) -> None:
    loop, metrics = finished(steps=6)
    loop.save(tmp_path)
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    assert loop.task.judge(plain)["loss"] == pytest.approx(metrics["loss"], abs=1e-5)
    text, metrics = finished(
        task="stdlib", steps=6, context=16, sizes={"n_layer": 1}, validation_windows=8
    )
    text.save(tmp_path)
    gpt2 = GPT2LMHeadModel.from_pretrained(tmp_path / "model").eval()
    assert text.task.judge(gpt2)["loss"] == pytest.approx(metrics["loss"], abs=1e-5)


def test_workers_that_have_not_met_are_apart_from_their_mean() -> None:
    loop = QSRLoop(QSRConfig(**{**TINY, "rule": "constant", "base": 20, "steps": 40}))
    loop.train(10)
    distances = loop.workers.consensus_distance(loop.mean_parameters()).detach().numpy()
    flat = torch.cat([p.detach().reshape(3, -1) for p in loop.workers.parameters.values()], dim=1)
    mean = flat.mean(dim=0)
    expected = ((flat - mean).norm(dim=1) / mean.norm()).numpy()
    np.testing.assert_allclose(distances, expected, rtol=1e-4)
    assert (distances > 0).all()
