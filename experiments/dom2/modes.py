"""A game of one step with four modes, cloned and learnt from a mixture of them.

python -m experiments.dom2.modes modes/free-expert dom2 0         a task, a variant and a seed

In `free` each of two agents may choose any of four points, in `match` both must choose the same.
All variants get 1,000 updates of 128 rows, rewards times 100 (so that the conservative term does
not drown them), five steps of DPM-Solver-2; policies with L_bc follow it alone in the first 500.
"""

import sys

import torch

from tenfold.algorithms.dom2 import METHOD
from tenfold.algorithms.dom2.algorithm import DOM2
from tenfold.platform.configuration import build_config

CHANGES = {
    "batch": 128,
    "updates_per_iteration": 1_000,
    "solver": "dpm2",
    "solver_steps": 5,
    "q_warmup": 500,
    "reward_scale": 100.0,
    "judge_episodes": 2_000,
}


def trained(task: str, variant: str, seed: int) -> tuple[DOM2, dict[str, float]]:
    """An algorithm after its updates, and its last result."""
    algorithm = DOM2(build_config(METHOD, task, variant, CHANGES, seed=seed))
    return algorithm, algorithm.train()


def main(task: str, variant: str, seed: int) -> None:
    torch.set_num_threads(1)
    algorithm, result = trained(task, variant, seed)
    print(
        f"{task} {variant} seed {seed}: score {result['return']:.3f} (behaviour "
        f"{algorithm.data.card.returns.mean:.3f}), diversity {result['action_diversity']:.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
