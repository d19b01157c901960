"""Synchronisation rules: a schedule worked out by hand, ends, plans, the paper's wall clocks."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.algorithms.common.learning_rate import SHAPES, LearningRate
from tenfold.algorithms.common.synchronisation import ConstantSync, Round
from tenfold.algorithms.qsr.planner import Cluster, plan
from tenfold.algorithms.qsr.schedule import PostLocalSync, QuadraticSync, SwapSync


def test_a_schedule_worked_out_by_hand() -> None:
    # eta falls linearly from 0.4 at step 0 to 0 at step 20: eta_t = 0.4 (1 - t / 20); no warm-up.
    lr = LearningRate("linear", peak=0.4, total=20, warmup=0, floor=0.0)
    rule = QuadraticSync(20, alpha=0.6, base=2, power=2, warmup=0, peak=0.4)
    # t=0: (0.6/0.4)^2 = 2.25 -> 2; t=2: 0.36 -> 2.78 -> 2; t=4: 0.32 -> 3.5 -> 3;
    # t=7: 0.26 -> 5.3 -> 5; t=12: 0.16 -> 14.06 -> 14, cut to the 8 that are left.
    assert list(rule.rounds(lr)) == [
        Round(0, 2),
        Round(2, 2),
        Round(4, 3),
        Round(7, 5),
        Round(12, 8),
    ]


def test_in_the_warmup_the_peak_learning_rate_counts() -> None:
    lr = LearningRate("cosine", peak=0.1, total=100, warmup=10, floor=0.0)
    rule = QuadraticSync(100, alpha=0.2, base=1, power=2, warmup=10, peak=0.1)
    assert lr(0) == pytest.approx(0.01)
    assert rule.h(lr(0), 0) == 4  # and not (0.2 / 0.01)^2 = 400
    assert lr(9) == lr(10) == pytest.approx(0.1)


@given(
    total=st.integers(1, 400),
    alpha=st.floats(1e-3, 10),
    base=st.integers(1, 9),
    power=st.sampled_from([1.0, 2.0, 3.0]),
    shape=st.sampled_from(sorted(SHAPES)),
    warm=st.floats(0, 0.9),
)
def test_rounds_cover_the_run_without_gaps_and_grow_as_the_rate_falls(
    total: int, alpha: float, base: int, power: float, shape: str, warm: float
) -> None:
    warmup = int(warm * total)
    lr = LearningRate(shape, 1.0, total, warmup, floor=1e-3)
    rule = QuadraticSync(total, alpha, base, power, warmup, 1.0)
    rounds = list(rule.rounds(lr))
    assert rounds[0].start == 0
    assert all(a.start + a.H == b.start for a, b in itertools.pairwise(rounds))
    assert rounds[-1].start + rounds[-1].H == total
    assert all(base <= r.H for r in rounds[:-1])
    lengths = [r.H for r in rounds[:-1]]
    assert lengths == sorted(lengths)  # no shape rises after the warm-up


def test_the_other_rules() -> None:
    lr = LearningRate("constant", 1.0, 10, 0, 0.0)
    assert [r.H for r in ConstantSync(10, 4).rounds(lr)] == [4, 4, 2]
    assert [r.H for r in PostLocalSync(10, switch=3, base=4).rounds(lr)] == [1, 1, 1, 4, 3]
    assert [r.H for r in SwapSync(10, switch=2).rounds(lr)] == [1, 1, 8]


def test_a_rate_of_zero_asks_for_the_rest_of_the_run() -> None:
    assert QuadraticSync(50, 0.1, 1, 2, 0, 1.0).h(0.0, 20) == 30


def test_stepped_cosine_stays_within_a_factor_of_two_below_the_cosine() -> None:
    cosine = LearningRate("cosine", 0.8, 1_000, 50, 1e-3)
    stepped = LearningRate("stepped_cosine", 0.8, 1_000, 50, 1e-3)
    for step in range(1_000):
        assert stepped(step) <= cosine(step) * (1 + 1e-12)
        assert stepped(step) > cosine(step) / 2 * (1 - 1e-12)


def test_a_plan_adds_up() -> None:
    lr = LearningRate("constant", 1.0, 100, 0, 0.0)
    cluster = Cluster(workers=4, seconds_per_step=0.1, bandwidth=1e6)
    found = plan(ConstantSync(100, 5), lr, model_bytes=2e6, cluster=cluster)
    assert found.averages == 20
    assert found.fraction == 0.2
    assert found.sent_bytes == 20 * 1.5 * 2e6
    assert found.seconds == pytest.approx(10 + 20 * 3.0)


def test_the_papers_wall_clock_follows_from_the_other_cluster() -> None:
    """ViT-B: compute time from 16 GPUs, bandwidth from data parallel on 64, then QSR's 5.5 h."""
    steps = {16: 93_836, 64: 23_459}  # 300 epochs of 1,281,167 images in batches of 4,096 / 16,384
    fractions = {}
    for gpus, total in steps.items():
        warmup = 10_000 * total // steps[16]
        lr = LearningRate("cosine", 0.008, total, warmup, 1e-6)
        rule = QuadraticSync(total, 0.0175, 4, 2, warmup, 0.008)
        fractions[gpus] = sum(1 for _ in rule.rounds(lr)) / total
    assert all(0.05 < f < 0.25 for f in fractions.values())
    local_16 = (20.2 - fractions[16] * 26.7) / (1 - fractions[16])
    local_64 = local_16 * steps[64] / steps[16]
    predicted = local_64 + fractions[64] * (8.6 - local_64)
    assert math.isclose(predicted, 5.5, rel_tol=0.1)
