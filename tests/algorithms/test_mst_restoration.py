"""MST's restoration: when weights come back, at what rate, what is dropped, what they then hold.

About 5 processor seconds.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from tenfold.algorithms.common.language_model import judge
from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.mst import METHOD
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.mst.restoration import RewarmedRate
from tenfold.algorithms.mst.schedule import SparsitySchedule
from tenfold.algorithms.mst.topology import evolve

TABLE = ((0.0, 0.0), (0.1, 0.5), (0.2, 0.9), (0.7, 0.5), (0.9, 0.0))
TINY: dict[str, Any] = {**METHOD.smoke, "steps": 40, "report_every": 20, "sparsity": TABLE}


def make_loop(**fields: Any) -> MSTLoop:
    config = MSTConfig(**{**TINY, **fields})
    config.check()
    return MSTLoop(config)


def test_a_restoration_that_begins_earlier_keeps_its_shape() -> None:
    schedule = SparsitySchedule(100, TABLE)
    assert schedule.restoration == 70
    earlier = schedule.restored_from(0.4)
    assert earlier.restoration == 40
    assert earlier.table[:3] == TABLE[:3]
    # 0.9 was two thirds of the way from 0.7 to 1.
    assert earlier.table[3:] == (pytest.approx((0.4, 0.5)), pytest.approx((0.8, 0.0)))
    assert earlier.phase(39) == "ultra"
    assert earlier.phase(40) == "restoration"
    with pytest.raises(ValueError, match=r"Bad value 0\.2 for 'restoration': give more than 0\.2"):
        schedule.restored_from(0.2)
    flat = SparsitySchedule(100, ((0.0, 0.9),))
    assert flat.restoration is None
    with pytest.raises(ValueError, match="no weights come back"):
        flat.restored_from(0.5)


def test_the_rate_rises_again_from_where_it_stands_and_ends_at_the_floor() -> None:
    before = LearningRate("cosine", 1.0, 100, 10, 0.1)
    rate = RewarmedRate(before, 60, 10, 0.8)
    assert [rate(step) for step in range(60)] == [before(step) for step in range(60)]
    low = before(60)
    assert [rate(step) for step in range(60, 70)] == pytest.approx(
        [low + (0.8 - low) * k / 10 for k in range(1, 11)]
    )
    assert rate(70) == pytest.approx(0.8)
    assert rate(85) == pytest.approx(0.45)  # half of the cosine from 70 to 100
    falling = [rate(step) for step in range(70, 100)]
    assert falling == sorted(falling, reverse=True)
    assert rate(99) == pytest.approx(0.1, abs=0.003)


def test_the_loop_follows_the_rewarmed_rate() -> None:
    loop = make_loop(restoration=0.5, restoration_lr=0.01, restoration_warmup=0.1)
    seen = {due: loop.train(due)["lr"] for due in (20, 21, 24, 40)}
    before = MSTConfig(**TINY).learning_rate
    assert seen[20] == before(19)
    low = before(20)
    assert seen[21] == pytest.approx(low + (0.01 - low) / 4)
    assert seen[24] == pytest.approx(0.01)
    assert loop.config.lr_floor <= seen[40] < 2e-3


@pytest.mark.parametrize("zeta", [0.0, 0.4])
def test_without_zeta_restoration_drops_nothing_and_asks_for_no_gradient(
    zeta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop(restoration_zeta=zeta, delta=3)
    dropped: dict[int, int] = {}

    def spy(mask: torch.Tensor, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        new, kept = evolve(mask, *arguments)
        dropped[loop.step] = dropped.get(loop.step, 0) + int((mask & ~kept).sum())
        return new, kept

    monkeypatch.setattr("tenfold.algorithms.mst.masks.evolve", spy)
    restoring = loop.schedule.restoration
    assert restoring == 28
    for due in range(1, 41):
        loop.train(due)
    steps = [step for step in dropped if step >= restoring]
    if zeta == 0:
        assert steps == [28, 36]  # where sparsity changes, and no more
        assert all(dropped[step] == 0 for step in steps)
    else:
        assert steps == [28, 30, 33, 36, 39]
        assert all(dropped[step] > 0 for step in steps)
    assert sum(dropped[step] for step in dropped if step < restoring) > 0
    assert loop.masks.active == loop.masks.size


def test_what_restored_weights_hold_is_measured(tmp_path: Path) -> None:
    loop = make_loop(lr=0.01)
    assert loop.train(28)["restored_norm_share"] == 0  # they come after this step, at 0
    assert loop.masks.settled is not None
    sparse = dict(loop.masks.settled)
    halfway = loop.train(32)
    assert 0 < halfway["restored_norm_share"] < 1
    assert "restored_loss_gap" not in halfway
    metrics = loop.train(40)
    loop.save(tmp_path)
    model = GPT2LMHeadModel.from_pretrained(tmp_path / "model", use_safetensors=True).eval()
    held = total = 0.0
    with torch.no_grad():
        for name, mask in sparse.items():
            weight = model.get_submodule(name).weight
            total += float(weight.square().sum())
            held += float(weight[~mask].square().sum())
            weight[~mask] = 0
    assert int(sum(mask.sum() for mask in sparse.values())) < loop.masks.size / 5
    assert metrics["restored_norm_share"] == pytest.approx(held / total)
    zeroed = judge(model, loop.corpus, 16, loop.config.validation_windows)["loss"]
    assert metrics["restored_loss_gap"] == pytest.approx(zeroed - metrics["loss"], abs=1e-5)


def test_a_run_without_restoration_has_none_of_it() -> None:
    metrics = make_loop(sparsity=((0.0, 0.9),), steps=4).train(4)
    assert metrics["restored_norm_share"] == 0
    assert "restored_loss_gap" not in metrics


def test_a_run_resumed_within_its_restoration_is_the_straight_one(tmp_path: Path) -> None:
    fields = {"restoration_lr": 5e-3, "restoration": 0.6}
    straight = make_loop(**fields)
    straight.train(32)
    straight.save(tmp_path)
    resumed = make_loop(**fields)
    resumed.load(tmp_path)
    expected, found = straight.train(40), resumed.train(40)
    assert expected["restored_norm_share"] > 0
    assert found == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"restoration": 0.1}, "Bad value 0.1 for 'restoration': give more than 0.2"),
        (
            {"restoration_lr": 1e-5},
            "Bad value 1e-05 for 'restoration_lr': give at least 'lr_floor'",
        ),
        (
            {"restoration_lr": 1e-3, "sparsity": ((0.0, 0.9),)},
            "Bad value 0.001 for 'restoration_lr': no weights come back",
        ),
    ],
)
def test_restorations_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refusal:
        MSTConfig(**{**TINY, **fields}).check()
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
