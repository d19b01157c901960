"""QSR beside torch's PostLocalSGDOptimizer: accuracy and seconds, two gloo processes, one run.

    python benchmarks/qsr.py --seeds 5

Both train the same ViT on the same batches of the digits by AdamW, from the same start, with as
many averages (torch's at a constant period, which is H's average). Times are of the loop alone.
"""

import os
import tempfile
import time
import warnings
from typing import Annotated, Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student_t
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from torch.distributed.optim import PostLocalSGDOptimizer

from tenfold.algorithms.common.local_optimizer import LocalOptimizer
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.tasks import make_task

PROCESSES = 2


def local_sgd_of_torch(parameters: Any, config: QSRConfig, period: int) -> Any:
    """torch's optimizer with a constant period and no warm-up."""
    inner = torch.optim.AdamW(
        parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PostLocalSGDOptimizer(inner, PeriodicModelAverager(period, warmup_steps=0))


def train(config: QSRConfig, ours: bool, rank: int) -> tuple[float, float]:
    """Accuracy of the averaged model, and seconds of the training loop."""
    task = make_task(config)
    torch.manual_seed(config.seed)
    model = task.model().train()
    parameters = list(model.parameters())
    rounds = sum(1 for _ in config.sync.rounds(config.learning_rate))
    if ours:
        inner = torch.optim.AdamW(
            parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        optimizer: Any = LocalOptimizer(inner, config.sync, config.learning_rate)
    else:
        optimizer = local_sgd_of_torch(parameters, config, round(config.steps / rounds))
    dist.barrier()
    start = time.perf_counter()
    for step in range(config.steps):
        batch = task.batch(step, rank, PROCESSES)
        if not ours:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate(step)
        task.loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        for p in parameters:
            dist.all_reduce(p)
            p /= PROCESSES
    return task.judge(model.eval())["accuracy"], seconds


def worker(rank: int, meet: str, seeds: int, steps: int, found: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=PROCESSES)
    for seed in range(seeds):
        config = QSRConfig(seed=seed, steps=steps, batch=32, workers_per_process=1)
        for ours in (True, False):
            result = train(config, ours, rank)
            if rank == 0:
                found.put((ours, *result))
    dist.destroy_process_group()


def main(
    seeds: Annotated[int, typer.Option(help="Seeds of each optimizer.")] = 5,
    steps: Annotated[int, typer.Option(help="Steps T.")] = 2_000,
) -> None:
    """Print accuracy and seconds of both with 95 % Student-t intervals."""
    os.environ["OMP_NUM_THREADS"] = "1"
    found = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, (f"{folder}/meet", seeds, steps, found), nprocs=PROCESSES)
    results = [found.get() for _ in range(2 * seeds)]
    table = Table("optimizer", "test accuracy", "seconds")
    for ours, name in ((True, "QSR (LocalOptimizer)"), (False, "torch PostLocalSGDOptimizer")):
        cells = []
        for place, digits in ((1, 4), (2, 1)):
            values = np.array([r[place] for r in results if r[0] == ours])
            half = student_t.ppf(0.975, seeds - 1) * values.std(ddof=1) / np.sqrt(seeds)
            cells.append(f"{values.mean():.{digits}f} ± {half:.{digits}f}")
        table.add_row(name, *cells)
    times = {ours: np.array([r[2] for r in results if r[0] == ours]) for ours in (True, False)}
    Console().print(table)
    print(
        f"seconds of ours over torch's, median of {seeds}: "
        f"{np.median(times[True] / times[False]):.3f}"
    )


if __name__ == "__main__":
    typer.run(main)
