"""The paper's wall clocks from QSR's schedule alone: ViT-B on ImageNet, 16 and 64 GPUs.

    python experiments/qsr/wall_clock.py

Given: hours of data parallel (26.7 and 8.6) and of QSR (20.2 and 5.5), from the paper's abstract;
300 epochs in batches of 4,096 on 16 GPUs and 16,384 on 64 (256 images a GPU in both), cosine from
0.008 to 1e-6, H_base 4, alpha 0.0175, which are reconstructed. The warm-up takes the same share.
"""

import math
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.qsr.planner import Cluster, plan
from tenfold.algorithms.qsr.schedule import QuadraticSync

IMAGES, EPOCHS = 1_281_167, 300
MODEL_BYTES = 4 * 86.6e6
PEAK, FLOOR, WARMUP = 0.008, 1e-6, 10_000 / 93_836


@dataclass(frozen=True)
class Measured:
    """What the abstract says of a cluster."""

    gpus: int
    batch: int
    data_parallel: float
    qsr: float

    @property
    def steps(self) -> int:
        return round(EPOCHS * IMAGES / self.batch)


SMALL = Measured(16, 4_096, 26.7, 20.2)
LARGE = Measured(64, 16_384, 8.6, 5.5)


def fraction(of: Measured) -> float:
    """Averages a step of QSR's schedule."""
    warmup = round(WARMUP * of.steps)
    lr = LearningRate("cosine", PEAK, of.steps, warmup, FLOOR)
    rule = QuadraticSync(of.steps, 0.0175, 4, 2, warmup, PEAK)
    return plan(rule, lr, MODEL_BYTES, Cluster(of.gpus, 1.0, 1.0)).fraction


def from_one_bandwidth(small: Measured, large: Measured) -> dict[int, float]:
    """Hours of QSR by GPUs if one time an image and one ring bandwidth explain both runs.

    Data parallel gives two equations, hours = steps (images a GPU * time + ring * seconds a byte).
    """
    both = (small, large)
    ring = {m.gpus: 2 * (m.gpus - 1) / m.gpus * MODEL_BYTES for m in both}
    terms = np.array([[m.steps * m.batch / m.gpus, m.steps * ring[m.gpus]] for m in both])
    image, byte = np.linalg.solve(terms, [3_600 * m.data_parallel for m in both])
    return {
        m.gpus: m.steps * (m.batch / m.gpus * image + fraction(m) * ring[m.gpus] * byte) / 3_600
        if min(image, byte) > 0
        else math.nan
        for m in both
    }


def from_the_other(known: Measured, other: Measured) -> float:
    """Hours of QSR on `other`: step time from `known`, bandwidth from data parallel on `other`."""
    f = fraction(known)
    local = (known.qsr - f * known.data_parallel) / (1 - f)
    local_other = local * other.steps / known.steps
    return local_other + fraction(other) * (other.data_parallel - local_other)


def main() -> None:
    table = Table("fit", "GPUs", "predicted h", "paper h", "error")
    same_batch = Measured(64, 4_096, LARGE.data_parallel, LARGE.qsr)
    one, other = from_one_bandwidth(SMALL, LARGE), from_one_bandwidth(SMALL, same_batch)
    rows = [
        ("data parallel only, batch 16,384 on 64", SMALL, one[16]),
        ("data parallel only, batch 16,384 on 64", LARGE, one[64]),
        ("data parallel only, batch 4,096 on both", SMALL, other[16]),
        ("data parallel only, batch 4,096 on both", same_batch, other[64]),
        ("step time from QSR on 64, bandwidth of 16", SMALL, from_the_other(LARGE, SMALL)),
        ("step time from QSR on 16, bandwidth of 64", LARGE, from_the_other(SMALL, LARGE)),
    ]
    for fit, of, hours in rows:
        found = ["-", f"{of.qsr}", "no such fit: a time would be negative"]
        if not math.isnan(hours):
            found = [f"{hours:.2f}", f"{of.qsr}", f"{100 * (hours / of.qsr - 1):+.1f} %"]
        table.add_row(fit, str(of.gpus), *found)
    console = Console(width=110)
    console.print(f"averages a step: {fraction(SMALL):.3f} (16), {fraction(LARGE):.3f} (64)")
    console.print(table)


if __name__ == "__main__":
    main()
