"""DiLoCo's outer step, augmented drawings and their resume. About 4 s on one core."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tenfold.algorithms.common.outer_optimizer import OuterNesterov
from tenfold.algorithms.qsr import METHOD
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop

TINY: dict[str, Any] = {
    **METHOD.smoke,
    "steps": 20,
    "report_every": 10,
    "workers_per_process": 3,
    "lr": 0.01,
    "base": 4,
    "rule": "constant",
}
AUGMENTED: dict[str, Any] = {
    "task": "drawings",
    "train_images": 60,
    "test_images": 40,
    "image_size": 8,
    "crop": 1,
    "flip": True,
    "randaugment": 2,
    "cutout": 3,
    "mixup": 0.2,
    "label_smoothing": 0.1,
}


def trained(due: int = 20, **fields: Any) -> QSRLoop:
    loop = QSRLoop(QSRConfig(**{**TINY, **fields}))
    loop.train(due)
    return loop


def test_outer_steps_are_torchs_sgd_with_nesterovs_momentum() -> None:
    drawn = torch.Generator().manual_seed(0)
    theta = torch.nn.Parameter(torch.randn(5, generator=drawn))
    sgd = torch.optim.SGD([theta], lr=0.7, momentum=0.9, nesterov=True)
    ours = theta.detach().clone()
    outer = OuterNesterov({"theta": ours}, lr=0.7, momentum=0.9)
    for _ in range(6):
        displacement = torch.randn(5, generator=drawn)
        theta.grad = displacement.clone()
        sgd.step()
        ours.sub_(displacement)  # where local steps and an average would lead
        outer.step()
        torch.testing.assert_close(ours, theta.detach(), rtol=1e-6, atol=1e-6)


def test_an_outer_rate_of_1_without_momentum_is_plain_averaging() -> None:
    plain = trained()
    same = trained(outer="nesterov", outer_lr=1.0, outer_momentum=0.0)
    other = trained(**METHOD.variants["diloco"])
    for name, p in plain.workers.parameters.items():
        assert torch.equal(same.workers.parameters[name], p), name
    moved = [
        float((other.workers.parameters[name] - p).abs().max().detach())
        for name, p in plain.workers.parameters.items()
    ]
    assert max(moved) > 1e-3


def test_after_an_outer_step_all_workers_stand_at_its_parameters() -> None:
    loop = trained(due=16, outer="nesterov")
    assert loop.outer is not None
    for name, p in loop.workers.parameters.items():
        assert torch.equal(p, loop.outer.start[name])
        assert torch.equal(p, p[:1].expand_as(p))


@pytest.mark.parametrize(
    "fields",
    [METHOD.variants["diloco"], AUGMENTED, {**AUGMENTED, "accumulate": 2, "outer": "nesterov"}],
    ids=["diloco", "augmented", "both"],
)
def test_a_run_goes_on_from_the_middle_of_a_round_bit_for_bit(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    straight = trained(**fields)
    half = trained(due=10, **fields)  # rounds end at 8 and 12, or at 8 and 16
    half.save(tmp_path)
    resumed = QSRLoop(half.config)
    resumed.load(tmp_path)
    resumed.train(20)
    for name, p in straight.workers.parameters.items():
        assert torch.equal(resumed.workers.parameters[name], p), name
    assert resumed.evaluate() == straight.evaluate()


def test_batches_are_functions_of_seed_step_and_worker() -> None:
    def pixels(number: int, worker: int, seed: int = 0) -> np.ndarray:
        task = QSRLoop(QSRConfig(**{**TINY, **AUGMENTED, "seed": seed})).task
        task.batch(7, 2, 3)  # what was drawn before counts for nothing
        return task.batch(number, worker, 3)["pixel_values"].numpy()

    first = pixels(0, 0)
    np.testing.assert_array_equal(first, pixels(0, 0))
    assert first.dtype == np.float32
    others = [pixels(5, 0), pixels(0, 1), pixels(0, 0, seed=1)]  # 5: the same images once more
    assert all((first != other).any() for other in others)


def test_soft_targets_of_smoothed_labels_are_the_smoothed_loss() -> None:
    """Without mixing (a partner that is the image itself) mixup's loss is that of hard labels."""
    config = QSRConfig(**{**TINY, **AUGMENTED, "mixup": 0.0})
    soft = QSRConfig(**{**TINY, **AUGMENTED, "batch": 1})  # the only image is its own partner
    hard = config.model_copy(update={"batch": 1})
    for number in range(3):
        losses = [
            float(loop.workers.losses(loop._batch(number)).mean().detach())
            for loop in (QSRLoop(hard), QSRLoop(soft))
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
